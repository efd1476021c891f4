"""Runs every bench of this folder, one process each, with the arguments given."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import bench


def main() -> int:
    """Returns the worst exit code."""
    names = sorted(m.name for m in pkgutil.iter_modules(bench.__path__) if not m.name.startswith("_"))
    codes = []
    for name in names:
        print(f"\n== bench.{name}", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", f"bench.{name}", *sys.argv[1:]], check=False).returncode)
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
