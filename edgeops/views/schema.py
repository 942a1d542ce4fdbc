"""What ``edgeops schema`` prints: the schema itself, with and without ``--json``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the document, ready to be written into a file."""
    yield json.dumps(result, indent=2, ensure_ascii=False)
