"""Runs inside `ray start`, named by RAY_START_HOOK: leaves out what this application never uses."""

from __future__ import annotations

from typing import Any


def without_client_server(parameters: Any, head: bool) -> None:
    """No Ray Client server (100 MB and an open port): drivers run on the machine or come over HTTP."""
    if head:
        parameters.ray_client_server_port = None
