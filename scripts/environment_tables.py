# ruff: noqa: INP001 - a script of the Makefile, part of no package
"""Write edgeops/convert/environments/tables from what the tools in their environments list.

Needs the environments: edgeops env create onnx2tf, edgeops env create paddle.
"""

from __future__ import annotations

from pathlib import Path

from edgeops.convert.engines.onnx2tf import Onnx2TfConverter
from edgeops.convert.engines.paddle import PaddleConverter
from edgeops.runtime.worker import Worker

TABLES = Path(__file__).parent.parent / "edgeops" / "convert" / "environments" / "tables"
TOOLS = (
    (Onnx2TfConverter, "onnx2tf", "the files of onnx2tf/ops"),
    (PaddleConverter, "x2paddle", "the methods and maps of X2Paddle's OpSet15"),
)


def main() -> None:
    """Ask each worker for its operators and write them as a table."""
    for kind, package, where in TOOLS:
        environment = kind.environment
        with Worker(environment) as worker:
            names = worker.ask("check", timeout_s=300)["operators"]
        head = (
            f'engine = "{kind.name}"\n'
            f'version = "{environment.versions[package]}"\n'
            f'verified = "names only, {where}: scripts/environment_tables.py"\n'
        )
        rows = "".join(f"[operators.{name}]\n" for name in names)
        (TABLES / f"{kind.name}.toml").write_text(f"{head}\n{rows}")


if __name__ == "__main__":
    main()
