"""What ``edgeops check`` shows: that a model can be converted, or the support matrix."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    Entry = Mapping[str, Any]

_GAP = 2
_WIDEST = 44


def view(result: Mapping[str, Any]) -> Iterator[RenderableType | str]:
    """Yield the lines of a ``check`` result; refusals with ``--to`` are shown as errors."""
    if "matrix" in result:
        yield from _matrix(result["models"], result["engines"], result["matrix"])
        return
    if not result["supported"]:
        yield from result["notes"]  # the findings are shown as errors
        return
    what = "the file as it is" if result["nodes"] is None else f"all {result['nodes']} nodes"
    yield f"supported: {result['engine']} takes {what} ({result['precision']})"
    for note in result["notes"]:
        yield f"  note: {note}"
    yield f"  convert it with: edgeops convert {result['model']} --to {result['engine']}"


def _matrix(
    models: Sequence[str], engines: Sequence[str], entries: Sequence[Entry]
) -> Iterator[RenderableType | str]:
    from rich.text import Text

    first = max(len(_short(name)) for name in ("model", *models)) + _GAP
    widths = {engine: max(len(engine), len("no (999)")) + _GAP for engine in engines}
    head = "".join(f"{engine:<{widths[engine]}}" for engine in engines)
    yield f"{'model':<{first}}{head}".rstrip()
    for model, row in groupby(entries, key=itemgetter("model")):
        line = Text(f"{_short(model):<{first}}")
        for entry in row:
            words = f"{_verdict(entry):<{widths[entry['engine']]}}"
            line.append(words, style="green" if entry["supported"] else "red")
        line.rstrip()
        yield line
    yield from _reasons([entry for entry in entries if not entry["supported"]], engines)
    yes = sum(entry["supported"] for entry in entries)
    yield ""
    count = f"{len(models)} model{'s' if len(models) != 1 else ''}"
    yield f"{count}, {len(engines)} engines: {yes} yes, {len(entries) - yes} no"


def _reasons(refused: Sequence[Entry], engines: Sequence[str]) -> Iterator[str]:
    """Yield the first thing against each pair, under the model's name."""
    for model, row in groupby(refused, key=itemgetter("model")):
        who: dict[str, list[str]] = {}
        for entry in row:
            who.setdefault(_first(entry), []).append(entry["engine"])
        yield ""
        yield model
        for what, names in who.items():
            every = len(names) == len(engines) > 1
            yield f"  {'all engines' if every else ', '.join(names)}: {what}"


def _first(entry: Entry) -> str:
    """Return the first finding without the engine's name, so that equal ones read equal."""
    first, *others = entry["findings"]
    engine = entry["engine"]
    what = str(first["what"]).removeprefix(f"{engine} ").replace(f" which {engine} ", " which it ")
    what = what.removeprefix(f"{entry['model'].rpartition('/')[2]} is ")
    return f"{what} (and {len(others)} more)" if others else what


def _short(name: str) -> str:
    """Return a path that leaves room for the engines; the reasons name it in full."""
    return name if len(name) <= _WIDEST else f"{name[:12]}...{name[15 - _WIDEST :]}"


def _verdict(entry: Entry) -> str:
    return "yes" if entry["supported"] else f"no ({len(entry['findings'])})"
