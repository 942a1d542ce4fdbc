"""What the converters with an environment of their own share: hand the model over, take the answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, Finding, RefusedError, from_findings
from edgeops.runtime.worker import Refusal, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def listed(name: str, model: Any) -> list[Finding]:
    """Return the nodes of an ONNX model whose operators a tool's own list of names lacks.

    A list of names promises nothing for a node that is on it, so these tables are kept apart from
    those by which other engines are recommended.
    """
    from edgeops.convert import support
    from edgeops.convert.support.facts import read_graph
    from edgeops.convert.support.judge import judge
    from edgeops.convert.support.tables import read

    table = read(Path(__file__).parent / "tables" / f"{name}.toml", name)
    graph = read_graph(model)
    problems = judge(table, graph)
    others = list(support.takers(model)) if problems else []
    return [problem.finding(table, graph, others) for problem in problems]


def not_from_onnx(name: str, tools: str) -> Finding:
    """Return the finding for an ONNX model where only torch.export programs are read."""
    return Finding(
        "source-unsupported",
        f"{tools} reads no ONNX",
        where=name,
        why="its own tools convert torch.export programs (.pt2) only",
        fix="export the PyTorch module: "
        "torch.export.save(torch.export.export(module, (example,)), 'model.pt2')",
        details={"node": "", "op": "", "alternatives": []},
    )


def refused(findings: Sequence[Finding]) -> EdgeopsError:
    """Return the error for what a converter cannot take."""
    return from_findings(findings, RefusedError)
