"""Say where a refused conversion goes wrong, and who would take the model instead."""

from __future__ import annotations

import tempfile
import time
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.events import Events

SECONDS = 60.0
_CODES = ("parity-failed", "parity-nan")
_WAYS = ("taps", "prefix")


def with_suspect(
    error: RefusedError,
    request: Mapping[str, Any],
    *,
    model_bytes: int,
    events: Events,
    seconds: float = SECONDS,
) -> RefusedError:
    """Return the refusal of a proof with the first node that differs and other engines to take.

    Looks for ``seconds`` at most, in contained processes of their own, so that what goes wrong
    there hides nothing; other refusals come back as they are.
    """
    differs = error.result.get("differs")
    if error.code not in _CODES or differs is None:
        return error
    if request["kind"] != "onnx":
        error.fix = "give real samples with --data, or convert it for another engine; "
        error.fix += "nothing was written"
        return error
    events.step("finding the node that differs")
    until = time.monotonic() + seconds
    first: dict[str, Any] | None = None
    takers: list[str] = []
    for way in _WAYS:
        found = _located(request, way, differs, until - time.monotonic(), model_bytes)
        if found:
            first, takers = found["first"], found["takers"] or takers
        if first:
            break
    result = {**error.result, "differs": {**differs, **(first or {})}, "alternatives": takers}
    what, why, where, fix = error.what, error.why, error.where, error.fix
    if first:
        where = f"{first['op']} {first['node']!r}"
        what += f"; the first node that differs is {where}"
        why += f"; at {first['node']!r} the largest difference is {first['max_abs']:.3g}"
        why += f", relative {first['max_rel']:.3g}"
    if takers:
        fix += f"; other engines that take the model: {', '.join(takers)}"
    return RefusedError(
        error.code, what, where=where, why=why, fix=fix, findings=error.findings, result=result
    )


def _located(
    request: Mapping[str, Any],
    way: str,
    differs: Mapping[str, Any],
    seconds: float,
    model_bytes: int,
) -> dict[str, Any] | None:
    """Look one way; None when that found nothing, died or there is no time left."""
    from edgeops.convert.contain import contained

    if seconds <= 1:
        return None
    with tempfile.TemporaryDirectory(prefix="edgeops-") as room:
        asked = {**request, "task": "locate", "way": way, "differs": differs, "out": room}
        # It stops by itself a little earlier, so that what it knows then is not lost.
        asked["seconds"] = seconds * 0.8
        try:
            return contained(asked, model_bytes=model_bytes, timeout_s=seconds)
        except EdgeopsError:
            return None
