"""Demos of an engine for application developers, filled in for a variant: ``code/<target>/...``.

``templates/sdk/<engine>/<language>`` and ``templates/sdk/common/<language>`` hold the files. Words
between at signs are replaced: ``@TARGET@``, ``@ENGINE@``, ``@ENGINE_VERSION@``, ``@MODEL_FILE@``,
``@INPUTS@`` and ``@OUTPUTS@`` (a line a tensor, in the form of the file's language).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgeops
from edgeops.errors import UsageProblem
from edgeops.package.layout import Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.variant import TensorInfo, Variant

LANGUAGES = ("python", "cpp", "kotlin")
# MNN computes with int32 and knows no bool.
_MNN_DTYPES = {"int64": "int32", "bool": "int32", "float64": "float32", "float16": "float32"}


@dataclass(frozen=True)
class _Tensor:
    """An input or output as the engine has it: of one sample, each open axis being 1."""

    name: str
    engine: str
    shape: tuple[int, ...]
    dtype: str


def sdk_parts(variants: Mapping[str, Variant], languages: Sequence[str]) -> list[Part]:
    """Return the demos of all targets in these languages, where their engine has one.

    Raises UsageProblem ``sdk-unknown``.
    """
    check_languages(languages)
    return [
        Part(f"code/{target}/{language}/{name}", "code", data, target)
        for target, variant in sorted(variants.items())
        for language in dict.fromkeys(languages)
        for name, data in sorted(_files(target, variant, language).items())
    ]


def check_languages(languages: Sequence[str]) -> None:
    """Raise UsageProblem ``sdk-unknown`` for a language that there are no demos in."""
    unknown = [name for name in languages if name not in LANGUAGES]
    if unknown:
        raise UsageProblem(
            "sdk-unknown",
            f"there are no demos in {', '.join(unknown)}",
            why=f"the languages are {', '.join(LANGUAGES)}",
            fix="pack: {sdk: [python, cpp, kotlin]}, or --sdk python",
        )


def _files(target: str, variant: Variant, language: str) -> dict[str, bytes]:
    root = _templates()
    own = root / variant.engine / language
    if not own.is_dir():
        return {}
    found = {}
    for folder in (root / "common" / language, own):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(folder).as_posix()
                text = path.read_text(encoding="utf-8")
                found[name] = _filled(text, path.suffix, target, variant).encode()
    return found


def _filled(text: str, suffix: str, target: str, variant: Variant) -> str:
    line = _LINES.get(suffix, _in_text)
    between = ",\n" if suffix in _LINES else "\n"
    words = {
        "TARGET": target,
        "ENGINE": variant.engine,
        "ENGINE_VERSION": variant.engine_version,
        "MODEL_FILE": variant.model_file,
        "INPUTS": between.join(line(_tensor(item, variant, "inputs")) for item in variant.inputs),
        "OUTPUTS": between.join(
            line(_tensor(item, variant, "outputs")) for item in variant.outputs
        ),
    }
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def _tensor(tensor: TensorInfo, variant: Variant, side: str) -> _Tensor:
    """Return a tensor under the engine's own name, with the engine's order of axes and dtype."""
    shape = tuple(size if isinstance(size, int) else 1 for size in tensor.shape)
    about: Any = variant.extra.get(side, {}).get(tensor.name, {})
    if variant.engine == "ncnn" and about:
        sizes = [1 if size is None else int(size) for size in about["shape"]]
        mat = tuple(size for axis, size in enumerate(sizes) if axis != about["batch"])
        return _Tensor(tensor.name, about["blob"], mat or (1,), about["dtype"])
    if variant.engine == "mnn":
        engine = about if isinstance(about, str) else tensor.name
        return _Tensor(tensor.name, engine, shape, _MNN_DTYPES.get(tensor.dtype, tensor.dtype))
    if variant.engine == "litert" and about:
        order = about.get("permutation") or range(len(shape))
        engine = str(about.get("tensor", tensor.name))
        return _Tensor(tensor.name, engine, tuple(shape[axis] for axis in order), tensor.dtype)
    return _Tensor(tensor.name, tensor.name, shape, tensor.dtype)


def _in_cpp(tensor: _Tensor) -> str:
    shape = ", ".join(map(str, tensor.shape))
    names = f"{_text(tensor.name)}, {_text(tensor.engine)}"
    return f'    {{{names}, {{{shape}}}, "{tensor.dtype}"}}'


def _in_python(tensor: _Tensor) -> str:
    names = f"{_text(tensor.name)}, {_text(tensor.engine)}"
    return f'    Tensor({names}, {tensor.shape}, "{tensor.dtype}")'


def _in_kotlin(tensor: _Tensor) -> str:
    shape = ", ".join(map(str, tensor.shape))
    names = f"{_text(tensor.name)}, {_text(tensor.engine)}".replace("$", "\\$")
    return f'    Tensor({names}, longArrayOf({shape}), "{tensor.dtype}")'


def _in_text(tensor: _Tensor) -> str:
    shape = ", ".join(map(str, tensor.shape))
    return f"| `{tensor.name}` | `{tensor.engine}` | [{shape}] | {tensor.dtype} |"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=not value.isprintable())


_LINES = {".hpp": _in_cpp, ".py": _in_python, ".kt": _in_kotlin}


def _templates() -> Path:
    package = Path(edgeops.__file__).parent
    shipped = package / "_templates"
    return (shipped if shipped.is_dir() else package.parent / "templates") / "sdk"
