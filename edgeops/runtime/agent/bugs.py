"""What the agent says of an error that it does not know: such a one is a fault of its own."""

from __future__ import annotations

from edgeops import __version__
from edgeops.errors import EdgeopsError


def bug(error: Exception) -> EdgeopsError:
    """Return the error ``bug`` (exit 70) for one that is unknown, with the line it came from."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    return EdgeopsError(
        "bug",
        f"edgeops-agent {__version__} met an error it does not know: {type(error).__name__}: {error}",
        where=f"{last.filename.rpartition('/')[2]}:{last.lineno}" if last else "",
        why="this is a fault in edgeops; what is installed goes on serving",
        fix="report it with what it prints",
    )
