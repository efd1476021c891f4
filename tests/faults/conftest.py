"""The router's parts beside the controller's: faults cross both."""

from tests.serve_apps.conftest import artifact_files, bench, world

__all__ = ["artifact_files", "bench", "world"]
