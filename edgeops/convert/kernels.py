"""Which operators of a model ONNX Runtime has no CPU kernel for."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from edgeops.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULT = ("", "ai.onnx")


def unsupported(model: Any) -> list[Finding]:
    """Return a finding ``operator-unsupported`` for every node that ONNX Runtime cannot run.

    Static first: operators by domain and opset against the engine's own list of kernels (a private
    function of its binding; without it the list counts as unknown), operators that expand into
    others and the model's own functions left out. The engine then decides on those that look
    wrong, by loading the model, for it also casts and fuses.
    """
    candidates = list(_without_kernel(model))
    if not candidates:
        return []
    reason = _load_failure(model)
    return [_finding(node, reason) for node in candidates] if reason else []


def _without_kernel(model: Any) -> Iterator[Any]:
    import onnx

    kernels = _kernels()
    if not kernels:
        yield from (node for node in _nodes(model.graph) if not _is_known(node))
        return
    opsets = {_domain(o.domain): o.version for o in model.opset_import}
    own = {(_domain(f.domain), f.name) for f in model.functions}
    known = {("", "Constant"): True}  # becomes an initializer before kernels are looked for
    for node in _nodes(model.graph):
        key = (_domain(node.domain), node.op_type)
        if key not in known:
            version = opsets.get(key[0], 1)
            ranges = kernels.get(key, ())
            known[key] = (
                any(low <= version <= high for low, high in ranges)
                or key in own
                or _expands(onnx, key, version)
            )
        if not known[key]:
            yield node


def _expands(onnx: Any, key: tuple[str, str], version: int) -> bool:
    domain, operator = key
    if domain not in ("", "ai.onnx.ml"):
        return False
    if not onnx.defs.has(operator, version, domain):
        return False
    schema = onnx.defs.get_schema(operator, version, domain)
    return bool(schema.has_function or schema.has_context_dependent_function)


def _kernels() -> dict[tuple[str, str], list[tuple[int, int]]]:
    try:
        from onnxruntime.capi.onnxruntime_pybind11_state import get_all_opkernel_def

        definitions = get_all_opkernel_def()
    except (ImportError, AttributeError):
        return {}
    kernels: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for kernel in definitions:
        if kernel.provider == "CPUExecutionProvider":
            key = (_domain(kernel.domain), kernel.op_name)
            kernels.setdefault(key, []).append(tuple(kernel.version_range))
    return kernels


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
            for inner in attribute.graphs:
                yield from _nodes(inner)


def _is_known(node: Any) -> bool:
    return _domain(node.domain) in ("", "ai.onnx.ml", "com.microsoft")


def _domain(domain: str) -> str:
    return "" if domain in _DEFAULT else domain


def _load_failure(model: Any) -> str:
    from edgeops.errors import RefusedError
    from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

    try:
        OnnxRuntimeSession(model.SerializeToString(), optimize=False)
    except RefusedError as error:
        return error.why
    return ""


def _finding(node: Any, reason: str) -> Finding:
    name = node.name or (node.output[0] if node.output else node.op_type)
    operator = f"{_domain(node.domain)}:{node.op_type}".removeprefix(":")
    custom = not _is_known(node)
    near = _alternatives(node.op_type)
    fix = "export without it: write it with standard operators, or cut the model before it"
    if near:
        fix = f"export it as {near[0]}, or write it with standard operators"
    why = "ONNX Runtime has no CPU kernel for it at this opset"
    if custom:
        why = f"the domain {node.domain!r} is not ONNX Runtime's: it needs a library of its own"
    return Finding(
        "operator-unsupported",
        f"ONNX Runtime cannot run {operator} (node {name!r})",
        where=name,
        why=f"{why} ({reason})" if not custom else why,
        fix=fix,
        details={"node": name, "op": operator, "alternatives": near},
    )


def _alternatives(operator: str) -> list[str]:
    """Return operators that the engine has under a name near to this one."""
    names = {name for domain, name in _kernels() if domain in ("", "com.microsoft")}
    return difflib.get_close_matches(operator, sorted(names), n=2, cutoff=0.7)
