# ruff: noqa: INP001, T201 - a script of the Makefile, part of no package; it prints
"""Put every engine to the corpus and the operator cases, and write the tables of docs/engines.md.

    python scripts/engine_tables.py [--engines a,b] [--skip-cases] [--dry-run]

A model of the corpus goes through ``edgeops check`` and ``edgeops convert`` as a person types them,
with the corpus's own data. The operator cases run as scripts/try_engine.py says. Every pair must
end proven or refused before anything was converted; the command fails when one does not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _tables import put, table  # noqa: E402 - tests is found below the project's root
from node_cases import node_cases  # noqa: E402 - as above

from tests.corpus_models import ONNX, TFLITE, CorpusModel  # noqa: E402 - as above

ENGINES = ("onnxruntime", "litert", "mnn", "ncnn", "openvino")
PROVEN, REFUSED, LATE, CRASH, BROKEN = "proven", "refused", "late", "crash", "broken"
WRONG = (LATE, CRASH)


def edgeops(*argv: str) -> dict[str, object]:
    """Return what ``edgeops ARGV --json`` answers."""
    done = subprocess.run(
        [sys.executable, "-m", "edgeops", *argv, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)


def corpus_pair(model: CorpusModel, engine: str, corpus: Path) -> tuple[str, str]:
    """Return how a model of the corpus ends on an engine, and the figure or the reason."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = model.data(corpus, folder / "data.npz")
        file = str(corpus / model.file)
        status, said = _pair(file, engine, [], data, folder)
        if status == REFUSED and model.shapes:
            shapes = [f"{n}={','.join(map(str, s))}" for n, s in model.shapes.items()]
            options = [word for shape in shapes for word in ("--input-shape", shape)]
            status, said = _pair(file, engine, options, data, folder)
            said += " (shape fixed)"
    return status, said


def _pair(file: str, engine: str, options: list[str], data: Path, folder: Path) -> tuple[str, str]:
    answer = edgeops("check", file, "--to", engine, *options)
    if "error" in answer:
        found = answer.get("findings") or [{"op": "", "code": answer["error"]["code"]}]
        count = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return REFUSED, f"{found[0]['code']} {found[0].get('op', '')}".strip() + count
    out = ["-o", str(folder / "v"), "--data", str(data)]
    answer = edgeops("convert", file, "--to", engine, *options, *out)
    if "error" in answer:
        return LATE, answer["error"]["code"]
    return PROVEN, f"{answer['parity']['max_rel']:.1g}"


def corpus_table(engines: tuple[str, ...], corpus: Path) -> tuple[str, Counter[str]]:
    """Return the table of the corpus and how many pairs ended how."""
    rows, counts = [], Counter()
    for model in (*ONNX, *TFLITE):
        cells = []
        for engine in engines:
            status, said = corpus_pair(model, engine, corpus)
            counts[status] += 1
            cells.append(said if status == PROVEN else f"{status}: {said}")
        rows.append([model.name, *cells])
        print(rows[-1], flush=True)
    return table(["model", *engines], rows), counts


def case_lines(engine: str, folder: Path) -> list[dict[str, str]]:
    """Return how every operator case ends on an engine."""
    out = folder / f"{engine}.jsonl"
    command = [sys.executable, "scripts/try_engine.py", engine, "--show", "late,crash"]
    subprocess.run([*command, "--out", str(out)], cwd=ROOT, check=False)
    return [json.loads(line) for line in out.read_text().splitlines()]


def operators() -> dict[tuple[str, str], str]:
    """Return the operator of every case of one node, by name and form."""
    return {
        (case.name, case.form): case.model.graph.node[0].op_type
        for case in node_cases()
        if len(case.model.graph.node) == 1
    }


def case_tables(engines: tuple[str, ...]) -> tuple[str, str, Counter[str]]:
    """Return the table of counts, the table by operator, and how many ended how."""
    names = operators()
    by_operator: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    totals: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for engine in engines:
            totals[engine] = Counter()
            for line in case_lines(engine, Path(folder)):
                totals[engine][line["status"]] += 1
                operator = names.get((line["case"], line["form"]))
                if operator:
                    by_operator[operator][engine][line["status"]] += 1
            print(engine, dict(totals[engine]), flush=True)
    states = (PROVEN, REFUSED, LATE, CRASH, BROKEN)
    counts = table(["", *engines], [[s, *(str(totals[e][s]) for e in engines)] for s in states])
    rows = [
        [operator, *(_share(found[engine]) for engine in engines)]
        for operator, found in sorted(by_operator.items())
    ]
    return counts, table(["operator", *engines], rows), sum(totals.values(), Counter())


def _share(counts: Counter[str]) -> str:
    """Return proven of all, "-" for an operator that is never taken."""
    total = sum(counts.values())
    if not counts[PROVEN]:
        return "-"
    return "all" if counts[PROVEN] == total else f"{counts[PROVEN]} of {total}"


def main() -> int:
    """Make the tables, write them, and say whether a pair ended otherwise than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared/corpus")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--skip-cases", action="store_true")
    parser.add_argument("--dry-run", action="store_true", help="print the tables, write nothing")
    asked = parser.parse_args()
    os.environ.update(CI="true", DVC_NO_ANALYTICS="1")
    engines = tuple(asked.engines.split(","))
    text, ended = corpus_table(engines, Path(os.environ.get("EDGEOPS_CORPUS", asked.corpus)))
    told = ", ".join(f"{count} {status}" for status, count in sorted(ended.items()))
    parts = {"corpus": f"{text}\n\n{told}."}
    if not asked.skip_cases:
        parts["cases"], parts["operators"], counted = case_tables(engines)
        ended += counted
    for name, part in parts.items():
        print(part)
        if not asked.dry_run:
            put(ROOT / "docs/engines.md", name, part)
    return 1 if any(ended[status] for status in WRONG) else 0


if __name__ == "__main__":
    sys.exit(main())
