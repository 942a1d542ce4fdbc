"""What ``edgeops inspect`` shows: format, interface, size, operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_HANDLED = {"format", "digest", "bytes", "inputs", "outputs", "ops", "parameters", "macs"}
_HANDLED |= {"macs_reason", "parameters_reason", "ops_reason", "opset", "opsets", "notes"}
_HANDLED |= {"signatures", "weights", "custom_operators", "kind"}
_OF_BUNDLES = {"targets", "layers"}
_BORING = {"subgraphs": 1}


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of an ``inspect`` result; unknown fields come last, one a line.

    Names come from files that may be anybody's, so that control characters are shown, not sent.
    """
    for line in _lines(result):
        yield "".join(
            each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in line
        )


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield f"{result['format']}  {result['bytes']:,} bytes  {result['digest']}"
    for side in ("inputs", "outputs"):
        yield from _tensors(side, result.get(side) or [])
    yield from _sizes(result)
    if result.get("ops"):
        ranked = sorted(result["ops"].items(), key=lambda item: (-item[1], item[0]))
        yield f"{'operators':<11} {', '.join(f'{name} {count}' for name, count in ranked)}"
    for index, one in enumerate(result.get("signatures") or ()):
        called = f"{one['key']}({', '.join(one['inputs'])}) -> {', '.join(one['outputs'])}"
        yield f"{'' if index else 'signatures':<11} {called}"
    handled = _HANDLED
    if result["format"] == "edgeops bundle":
        handled = _HANDLED | _OF_BUNDLES
        yield from _targets(result["targets"])
        yield from _layers(result["layers"])
    for key, value in result.items():
        if key not in handled and value not in (None, "", [], {}, _BORING.get(key)):
            yield f"{key:<11} {_short(value)}"
    for note in result.get("notes") or ():
        yield f"note: {note}"


def _sizes(result: Mapping[str, Any]) -> Iterator[str]:
    for name in ("parameters", "macs"):
        if name in result:
            yield f"{name:<11} {_count(result[name], result.get(f'{name}_reason', ''))}"
    weights = result.get("weights") or {}
    if len(weights) > 1 or set(weights) - {"float32"}:
        yield f"{'weights':<11} {', '.join(f'{dtype} {n:,}' for dtype, n in weights.items())}"
    if result.get("opset"):
        yield f"{'opset':<11} {result['opset']}"


def _tensors(side: str, tensors: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for index, tensor in enumerate(tensors):
        shape = ", ".join(map(str, tensor["shape"]))
        yield f"{side if not index else '':<11} {tensor['name']}  {tensor['dtype']} [{shape}]"


def _count(value: int | None, reason: str) -> str:
    return f"{value:,}" if value is not None else f"unknown: {reason}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "\n            ".join(_short(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items() if item not in (None, ""))
    return str(value)


def _targets(targets: Mapping[str, Any]) -> Iterator[str]:
    for index, (name, item) in enumerate(targets.items()):
        made = f"{item['engine']} {item['engine_version']} {item['precision']}"
        needs = item["needs"] or {}
        asked = [" or ".join(needs.get("architectures") or ())]
        asked += [f"opset {needs['opset']}"] if needs.get("opset") else []
        asked += [f"{needs['memory_mb']:g} MB"] if needs.get("memory_mb") else []
        asked = [each for each in asked if each]
        rest = f", needs {', '.join(asked)}" if asked else ""
        yield f"{'' if index else 'targets':<11} {name}: {made}, {item['bytes']:,} bytes{rest}"


def _layers(layers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    width = max((len(item["path"]) for item in layers), default=0)
    for index, item in enumerate(layers):
        sealed = "  sealed" if item["sealed"] else ""
        yield (
            f"{'' if index else 'files':<11} {item['path']:<{width}}  {item['bytes']:>12,}  "
            f"{item['digest'][:19]}{sealed}"
        )
