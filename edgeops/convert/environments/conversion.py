"""What the converters with an environment of their own share: hand the model over, take the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import RefusedError
from edgeops.runtime.worker import Refusal, Worker

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.contracts import Converter, ConvertOptions

# Less than the time that the process around a conversion has, so that the worker is the one named.
CONVERT_S = 840.0


def converted(converter: Any, model: Any, out: Path, options: ConvertOptions) -> dict[str, Any]:
    """Let a converter's worker make ``out`` from a prepared ONNX model; return its answer.

    Raises RefusedError ``conversion-failed``, and as ``runtime.worker.Worker.ask`` does.
    """
    import onnx

    with Worker(converter.environment, loud=True) as worker:
        source = worker.scratch / "model.onnx"
        onnx.save_model(model, source)
        return ask(worker, converter, model=str(source), out=str(out), precision=options.precision)


def converted_file(
    converter: Any, source: Path, out: Path, options: ConvertOptions
) -> dict[str, Any]:
    """Do the same from a file that is not ONNX."""
    with Worker(converter.environment, loud=True) as worker:
        model = str(source.absolute())
        return ask(worker, converter, model=model, out=str(out), precision=options.precision)


def ask(worker: Worker, converter: Converter, **arguments: Any) -> dict[str, Any]:
    """Ask a worker to convert."""
    try:
        answer: dict[str, Any] = worker.ask("convert", timeout_s=CONVERT_S, **arguments)
    except Refusal as refusal:
        raise RefusedError(
            "conversion-failed",
            f"{converter.name} cannot convert the model",
            where=converter.name,
            why=refusal.text(),
            fix="see which other engines take it: edgeops check MODEL --all",
        ) from refusal
    return answer
