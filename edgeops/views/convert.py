"""What ``edgeops convert`` shows: the files, and how near the result is to its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a ``convert`` result."""
    parity = result["parity"]
    yield f"{result['variant']}: {result['engine']} {result['precision']}"
    for file in result["files"]:
        yield f"  {file['path']:<14}{file['bytes']:>12,} bytes  sha256:{file['sha256'][:12]}"
    if parity is None:
        yield f"UNPROVEN: {result['unproven']}"
    else:
        yield f"equal to its source on {_samples(parity)}"
        yield f"  largest difference {parity['max_abs']:.3g}, relative {parity['max_rel']:.3g}"
        yield f"  cosine {parity['cosine']:.7g}, norm ratio {parity['norm_ratio']:.7g}" + _top1(
            parity
        )
    if accuracy := result.get("accuracy"):
        yield f"  right answers: source {accuracy['source']:.1%}, here {accuracy['converted']:.1%}"
    for note in result["notes"]:
        yield f"note: {note}"
    yield f"took {result['seconds']:.1f} s"


def _top1(parity: Mapping[str, Any]) -> str:
    return "" if parity["top1"] is None else f", same answer {parity['top1']:.1%}"


def _samples(parity: Mapping[str, Any]) -> str:
    count = f"{parity['samples']} sample{'s' if parity['samples'] != 1 else ''}"
    return f"{count} of {'made-up noise' if parity['data'] == 'synthetic' else parity['data']}"
