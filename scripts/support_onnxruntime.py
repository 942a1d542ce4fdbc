# ruff: noqa: INP001 - a script of the Makefile, part of no package
"""Write edgeops/convert/support/onnxruntime.toml from the installed engine's list of kernels.

    python scripts/support_onnxruntime.py [--check]

An operator is taken where a CPU kernel is registered for the version of its schema and the dtypes,
or where its schema is a function whose body the engine loads. ``get_all_opkernel_def`` is private
to the engine's binding: that is why it is asked here and not when a model is checked. How the
engine matches versions: onnxruntime/core/framework/kernel_registry.cc, VerifyKernelDef.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as binding

OUT = Path(__file__).parent.parent / "edgeops" / "convert" / "support" / "onnxruntime.toml"
OPEN_END = 2**31 - 1
DOMAINS = ("", "ai.onnx.ml", "com.microsoft")
PREFIX = {"": "", "ai.onnx.ml": "ai.onnx.ml:", "com.microsoft": "com.microsoft:"}
# ONNX's names of element types to numpy's (and ml_dtypes').
DTYPES = {
    "float": "float32",
    "double": "float64",
    "string": "str",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
    "float8e8m0": "float8_e8m0fnu",
    "float4e2m1": "float4_e2m1fn",
}

# What no list of kernels says: found by running the cases of onnx.backend.test, and put behind what
# is generated. A kernel is there and fails at these.
BATCH_FIRST = """attributes = {layout = [1]}
why = "it computes with the sequence first, layout = 0, only"
fix = "export it with layout = 0, transposing before and after\""""
FURTHER = {
    "Attention": ["""dtypes = {T1 = ["bfloat16"]}"""],
    "ConvInteger": [
        """elements_min = {"3" = 2}
why = "it takes one zero point for all weights, not one for each channel"
fix = "quantize the weights per tensor, or write it as ConvInteger of float QDQ\"""",
    ],
    "GRU": [BATCH_FIRST],
    "LSTM": [BATCH_FIRST],
    "RNN": [BATCH_FIRST],
    "ReduceMax": ["""dtypes = {"0" = ["bool"]}\nelements_max = {"0" = 0}"""],
    "ReduceMin": ["""dtypes = {"0" = ["bool"]}\nelements_max = {"0" = 0}"""],
    "StringNormalizer": [
        """attributes = {case_change_action = ["LOWER", "UPPER"]}
why = "it needs a locale of the operating system, which devices seldom have"
fix = "change the case of strings before they reach the model\"""",
    ],
}
# What numpy has: other element types may pass inside, but no caller could give or get them.
BORDERS = (
    "bool",
    "float16",
    "float32",
    "float64",
    "str",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)

Types = dict[str, frozenset[str]]


def dtype(text: str) -> str | None:
    """Return numpy's name of ``tensor(float)``; other kinds of value by kind."""
    kind, _, inner = text.partition("(")
    if kind == "tensor":
        inner = inner.removesuffix(")")
        return DTYPES.get(inner, inner)
    return {"seq": "sequence", "map": "map", "optional": "optional"}.get(kind)


def highest_opset(domain: str) -> int:
    """Return the newest opset that the engine loads."""
    top = 1
    for version in range(1, onnx.defs.onnx_opset_version() + 1):
        node = helper.make_node("Identity", ["x"], ["y"])
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
        opsets = [o for o in opsets if o.domain != domain] + [helper.make_opsetid(domain, version)]
        if not refusal(model([node], {"x": TensorProto.FLOAT}, ["y"], opsets)):
            top = version
    return top


def model(nodes: list[Any], inputs: dict[str, int], outputs: list[str], opsets: list[Any]) -> Any:
    """Return a model whose shapes are not stated."""
    given = [helper.make_tensor_value_info(name, kind, None) for name, kind in inputs.items()]
    made = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(nodes, "probe", given, made)
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def refusal(proto: Any) -> str:
    """Return why the engine does not load a model, or ""."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.graph_optimization_level = level
    try:
        onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001 - its exceptions share no base
        return str(error)
    return ""


def schemas() -> dict[tuple[str, str], dict[int, Any]]:
    """Return all schemas by operator and since-version, onnx's own and the engine's own domain."""
    found: dict[tuple[str, str], dict[int, Any]] = defaultdict(dict)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain in DOMAINS:
            found[schema.domain, schema.name][schema.since_version] = schema
    for schema in binding.get_all_operator_schema():
        if schema.domain == "com.microsoft":
            found[schema.domain, schema.name][schema.since_version] = schema
    return found


def kernels() -> dict[tuple[str, str], list[Any]]:
    """Return the CPU kernels by operator."""
    found: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for kernel in binding.get_all_opkernel_def():
        if kernel.provider == "CPUExecutionProvider":
            found[kernel.domain, kernel.op_name].append(kernel)
    return found


def matches(kernel: Any, since: int) -> bool:
    """Return whether a kernel serves a schema's version."""
    low, high = kernel.version_range
    return low == since or (high != OPEN_END and low <= since <= high)


def of_kernel(kernel: Any, schema: Any) -> Types:
    """Return the dtypes of a kernel by key of a rule; what it takes of all is left out."""
    parts = {}
    for parameter, texts in kernel.type_constraints.items():
        taken = {dtype(text) for text in texts} - {None}
        if "float32" in taken:
            taken.add("float16")  # casts are inserted where no float16 kernel is
        for key in keys(parameter, schema):
            possible = allowed(parameter, schema)
            if not possible or not possible <= taken:
                parts[key] = frozenset(taken & possible if possible else taken)
    return parts


def keys(parameter: str, schema: Any) -> list[str]:
    """Return the keys that a type parameter has in a rule.

    Where onnx has no schema at check time, inputs and outputs stand by index.
    """
    named = {constraint.type_param_str for constraint in schema.type_constraints}
    if parameter in named and schema.domain != "com.microsoft":
        return [parameter]
    inputs = enumerate(schema.inputs)
    outputs = enumerate(schema.outputs)
    return [
        *(str(i) for i, formal in inputs if parameter in {formal.name, type_of(formal)}),
        *(f"out{i}" for i, formal in outputs if parameter in {formal.name, type_of(formal)}),
    ]


def type_of(formal: Any) -> str:
    """Return a formal parameter's type; the engine spells the name otherwise than onnx."""
    return str(getattr(formal, "type_str", "") or getattr(formal, "typeStr", ""))


def allowed(parameter: str, schema: Any) -> set[str]:
    """Return all dtypes that the schema allows for a type parameter."""
    for constraint in schema.type_constraints:
        if constraint.type_param_str == parameter:
            return {dtype(text) for text in constraint.allowed_type_strs} - {None}
    return set()


def merged(alternatives: list[Types]) -> list[Types]:
    """Return fewer alternatives that allow the same: those that differ in one key become one."""
    rest = [dict(part) for part in alternatives]
    again = True
    while again:
        again = False
        for one in rest:
            for other in rest:
                if one is other or set(one) != set(other):
                    continue
                differ = [key for key in one if one[key] != other[key]]
                if len(differ) <= 1:
                    for key in differ:
                        one[key] |= other[key]
                    rest = [part for part in rest if part is not other]
                    again = True
                    break
            if again:
                break
    return rest


def of_function(schema: Any, opset: int) -> list[Types] | None:
    """Return the dtypes for which the engine loads a function's body; None: for none."""
    if not (schema.has_function or schema.has_context_dependent_function):
        return None
    parameters = [c for c in schema.type_constraints if len(c.allowed_type_strs) > 1]
    taken: Types = {}
    for constraint in parameters:
        name = constraint.type_param_str
        possible = [text for text in sorted(constraint.allowed_type_strs) if dtype(text)]
        good = {dtype(text) for text in possible if probe(schema, opset, {name: text})}
        if not good:
            return None
        if good != {dtype(text) for text in possible}:
            taken[name] = frozenset(good)
    return [taken]


def probe(schema: Any, opset: int, chosen: dict[str, str]) -> bool:
    """Return whether the engine finds kernels for one node of an operator with chosen types."""
    usual = ("tensor(float)", "tensor(int64)", "tensor(bool)", "tensor(uint8)")
    types = {}
    for constraint in schema.type_constraints:
        texts = constraint.allowed_type_strs
        default = next((text for text in usual if text in texts), next(iter(texts)))
        types[constraint.type_param_str] = chosen.get(constraint.type_param_str, default)
    inputs, names = {}, []
    for index, formal in enumerate(schema.inputs):
        text = types.get(formal.type_str, formal.type_str)
        if not text.startswith("tensor("):
            return False
        if formal.option == onnx.defs.OpSchema.FormalParameterOption.Optional:
            names.append("")
            continue
        names.append(f"i{index}")
        inputs[f"i{index}"] = element(text)
    outputs = [f"o{index}" for index, _ in enumerate(schema.outputs[:1])]
    attributes = {
        name: attribute_value(one) for name, one in schema.attributes.items() if one.required
    }
    while names and not names[-1]:
        names.pop()
    node = helper.make_node(schema.name, names, outputs, domain=schema.domain, **attributes)
    opsets = [helper.make_opsetid(schema.domain, opset)]
    if schema.domain:
        opsets.append(helper.make_opsetid("", 17))
    why = refusal(model([node], inputs, outputs, opsets))
    return "NOT_IMPLEMENTED" not in why and "is not a registered function" not in why


def element(text: str) -> int:
    """Return the number of an element type written ``tensor(float)``."""
    return int(TensorProto.DataType.Value(text[len("tensor(") : -1].upper()))


def attribute_value(attribute: Any) -> Any:
    """Return some value of a required attribute's type."""
    kind = attribute.type.name
    values = {"FLOAT": 1.0, "INT": 1, "STRING": "x", "FLOATS": [1.0], "INTS": [1]}
    return values.get(kind, 1)


def table() -> dict[str, list[tuple[list[int], Types]]]:
    """Return what is taken: operator -> spans of opsets with dtypes."""
    top = {domain: highest_opset(domain) if domain != "com.microsoft" else 1 for domain in DOMAINS}
    have = kernels()
    found = {}
    for (domain, name), versions in sorted(schemas().items()):
        rows: list[tuple[list[int], Types]] = []
        sinces = sorted(versions)
        for since, after in zip(sinces, [*sinces[1:], None], strict=True):
            schema = versions[since]
            last = min(after - 1 if after else top[domain], top[domain])
            if schema.deprecated or since > top[domain]:
                continue
            matching = [k for k in have.get((domain, name), ()) if matches(k, since)]
            types = merged([of_kernel(kernel, schema) for kernel in matching])
            for opset in range(since, last + 1):
                body = of_function(schema, opset) if domain != "com.microsoft" else None
                both = merged(types + body) if body is not None else types
                for part in [{}] if {} in both else both:
                    extend(rows, opset, part)
        if rows:
            found[PREFIX[domain] + name] = rows
    return found


def extend(rows: list[tuple[list[int], Types]], opset: int, types: Types) -> None:
    """Add a row for one opset, or lengthen the one that says the same up to here."""
    for span, known in rows:
        if known == types and span[1] == opset - 1:
            span[1] = opset
            return
    rows.append(([opset, opset], types))


def written() -> str:
    """Return the file."""
    lines = [
        "# What ONNX Runtime takes on the CPU. Written by scripts/support_onnxruntime.py.",
        'engine = "onnxruntime"',
        f'version = "{onnxruntime.__version__}"',
        'verified = "made from the list of kernels of the engine; tests/functional/test_support_cases.py"',
        "",
        "[limits]",
        f"dtypes = {sorted(BORDERS)}".replace("'", '"'),
    ]
    for name, rows in table().items():
        key = f'"{name}"' if ":" in name else name
        for span, types in rows:
            one = len(rows) == 1
            lines += ["", f"[operators.{key}]" if one else f"[[operators.{key}.allow]]"]
            lines.append(f"opsets = [{span}]")
            parts = (f"{key} = {sorted(taken)}" for key, taken in sorted(types.items()))
            if types:
                lines.append(f"dtypes = {{{', '.join(parts)}}}".replace("'", '"'))
        for further in FURTHER.get(name, ()):
            lines += ["", f"[[operators.{key}.forbid]]", further]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the table, or say with ``--check`` whether it is as the engine has it."""
    text = written()
    if "--check" in sys.argv:
        return int(OUT.read_text(encoding="utf-8") != text)
    OUT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
