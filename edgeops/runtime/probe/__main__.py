"""``python -m edgeops.runtime.probe``: the supervisor, or with ``--child`` the process it watches."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the one or the other; returns the exit code."""
    if sys.argv[1:2] == ["--child"]:
        from edgeops.runtime.probe.child import main as child

        return child(sys.argv[2:])
    from edgeops.runtime.probe.supervisor import main as supervisor

    return supervisor()


if __name__ == "__main__":
    sys.exit(main())
