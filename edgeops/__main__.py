"""``edgeops`` and ``python -m edgeops``: ``--version`` is answered before anything is imported."""

import sys

from edgeops import __version__


def main() -> int:
    """Run one verb and return its exit code."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"edgeops {__version__}\n")
        return 0
    from edgeops.cli import main as run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
