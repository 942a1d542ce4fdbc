"""Run pnnx, believe nothing it says, and read what it made.

pnnx answers with status 0 for graphs that ncnn cannot load, and writes eight files beside its
input. What it knows of the batch axis of inputs and outputs it only tells in the Python it
generates: that text is read, never run.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgeops.errors import RefusedError

TIMEOUT_S = 600
NONE = 233  # pnnx's word for "no batch axis"
_INPUT = re.compile(r'ex\.input\("(\w+)", ncnn\.Mat\(\w+\.numpy\(\), batch_index=(-?\d+)\)')
_OUTPUT = re.compile(r"out\.append\(torch\.from_numpy\((\w+)\.numpy\(batch_index=(-?\d+)\)\)\)")
_LAST_LINES = 4
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Made:
    """What pnnx made: the text of the .param, the bytes of the .bin, batch axes by blob."""

    param: str
    weights: bytes
    inputs: dict[str, int | None]
    outputs: dict[str, int | None]


def binary() -> Path | None:
    """Return the pnnx program in the wheel of that name, without importing it: that needs torch."""
    spec = find_spec("pnnx")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "pnnx"
    return path if path.is_file() else None


def run_pnnx(model: Any, *, half: bool) -> Made:
    """Return what pnnx makes of an ``onnx.ModelProto``; raises RefusedError ``conversion-failed``."""
    program = binary()
    if program is None:
        raise failed("pnnx is not there", "pip install --no-deps pnnx==20261020")
    with tempfile.TemporaryDirectory(prefix="edgeops-pnnx-") as scratch:
        folder = Path(scratch)
        (folder / "m.onnx").write_bytes(model.SerializeToString())
        try:
            done = subprocess.run(
                [str(program), "m.onnx", f"fp16={int(half)}"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise failed(f"pnnx took longer than {TIMEOUT_S} s") from error
        if done.returncode != 0:
            raise failed(f"pnnx ended with status {done.returncode}; {last_words(done)}")
        return _read(folder, done)


def failed(why: str, fix: str = "", node: str = "") -> RefusedError:
    """Return the error for a model that pnnx or ncnn does not take."""
    return RefusedError(
        "conversion-failed",
        "the model cannot be converted for ncnn",
        where=node or "pnnx",
        why=why,
        fix=fix or "see which engines take it with: edgeops check MODEL --all",
    )


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last lines that pnnx wrote to its error stream."""
    lines = [_COLOURS.sub("", line).strip() for line in done.stderr.splitlines()]
    kept = [line for line in lines if line and not line.startswith(("│", "├", "└", "┌"))]
    return "its last words: " + " / ".join(kept[-_LAST_LINES:]) if kept else "it said nothing"


def _read(folder: Path, done: subprocess.CompletedProcess[str]) -> Made:
    param, weights, told = (folder / f"m{end}" for end in (".ncnn.param", ".ncnn.bin", "_ncnn.py"))
    if not all(file.is_file() for file in (param, weights, told)) or not param.stat().st_size:
        raise failed(f"pnnx ended with status 0, but made no network; {last_words(done)}")
    text = told.read_text()
    return Made(
        param.read_text(),
        weights.read_bytes(),
        _axes(_INPUT, text),
        _axes(_OUTPUT, text),
    )


def _axes(pattern: re.Pattern[str], text: str) -> dict[str, int | None]:
    return {blob: None if int(axis) == NONE else int(axis) for blob, axis in pattern.findall(text)}
