"""What ``edgeops init`` shows: where the project is, what is missing, what to type next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_GIT = {
    "created": "git and DVC are set up; nothing is committed yet",
    "found": "DVC is set up in the git repository that was there",
    "absent": "DVC is set up without git",
}


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of an ``init`` result."""
    yield f"{result['project']}: {len(result['files'])} files in {result['root']}"
    yield f"  {_GIT[result['git']]}"
    for note in result["notes"]:
        yield f"  {note}"
    if result["missing"]:
        yield ""
        yield "still missing, and yours to bring:"
        for item in result["missing"]:
            yield f"  {item['path']}   {item['what']}"
    yield ""
    yield "next:"
    if result["folder"] != ".":
        yield f"  cd {shlex.quote(result['folder'])}"
    if result["missing"]:
        yield "  edgeops run --dry-run    # says what is still wrong"
    yield "  edgeops run"
