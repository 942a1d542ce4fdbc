"""What runs on devices keeps to Python 3.9, and the program made of it needs nothing else."""

from __future__ import annotations

import ast
import builtins
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import edgeops
from edgeops.core.contracts import Samples
from edgeops.runtime.probe import FORMAT, read_outputs, write_samples
from edgeops.validate import pyz
from tests.measuring import variant

PACKAGE = Path(edgeops.__file__).parent
OLDEST = (3, 9)
MOST_BYTES = 220_000
ROOMS = sorted(
    [*PACKAGE.glob("runtime/**/*.py"), *PACKAGE.glob("core/*.py"), PACKAGE / "errors.py"]
)
# Names that came with Python 3.10, 3.11 or 3.12, by the module that has them.
LATER = {
    "typing": {
        "Self",
        "TypeAlias",
        "ParamSpec",
        "Concatenate",
        "TypeGuard",
        "Never",
        "LiteralString",
    }
    | {
        "NotRequired",
        "Required",
        "Unpack",
        "assert_never",
        "assert_type",
        "override",
        "reveal_type",
    },
    "datetime": {"UTC"},
    "itertools": {"pairwise", "batched"},
    "hashlib": {"file_digest"},
    "contextlib": {"chdir", "aclosing"},
    "enum": {"StrEnum", "verify", "member", "nonmember"},
    "types": {"NoneType", "EllipsisType", "UnionType"},
    "inspect": {"get_annotations"},
    "tomllib": {"load", "loads"},
    "operator": {"call"},
    "math": {"cbrt", "exp2", "sumprod"},
    "statistics": {"correlation", "covariance", "linear_regression", "kde"},
}
METHODS = {"bit_count", "hardlink_to", "add_note", "file_digest", "exceptions", "walk_up"}
KEYWORDS = {
    "zip": {"strict"},
    "dataclass": {"slots", "kw_only", "weakref_slot"},
    "field": {"kw_only"},
}
KEYWORDS |= {"entry_points": {"group", "name"}, "bisect_left": {"key"}, "bisect_right": {"key"}}


def running(tree):
    """Yield the nodes that run: not what stands under TYPE_CHECKING, and no annotation."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.arg):
            continue
        yield node
        for name in ("returns", "annotation"):
            if getattr(node, name, None) is not None:
                setattr(node, name, None)
        yield from running(node)


def too_new(source):
    """Return what of a module Python 3.9 does not have, with its line."""
    found = []
    tree = ast.parse(source, feature_version=OLDEST)
    for node in running(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.ImportFrom) and node.module in LATER:
            names = {alias.name for alias in node.names} & LATER[node.module]
            found += [f"{line}: {node.module}.{name}" for name in sorted(names)]
        elif isinstance(node, ast.Import):
            found += [f"{line}: {a.name}" for a in node.names if a.name == "tomllib"]
        elif isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if node.attr in METHODS or node.attr in LATER.get(owner, ()):
                found.append(f"{line}: {owner}.{node.attr}")
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            given = {word.arg for word in node.keywords} & KEYWORDS.get(name, set())
            found += [f"{line}: {name}({word}=...)" for word in sorted(given)]
            if name in {"isinstance", "issubclass"} and any(map(union, node.args[1:])):
                found.append(f"{line}: {name} with a | of types")
        elif isinstance(node, ast.Assign) and union(node.value):
            found.append(f"{line}: a | of types that runs")
    return found


def union(node):
    """Return whether an expression is ``int | None`` or the like: a | of names that are types."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.BitOr):
        return False
    sides = [node.left, node.right]
    return any(isinstance(each, ast.Constant) and each.value is None for each in sides) or all(
        isinstance(each, ast.Name) and (each.id in dir(builtins) or each.id.istitle())
        for each in sides
    )


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_room_keeps_to_the_oldest_python(path):
    assert too_new(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "for a, b in zip(x, y, strict=True): pass",
        "from typing import Self",
        "import datetime\nnow = datetime.UTC",
        "import tomllib",
        "@dataclass(slots=True)\nclass A: pass",
        "isinstance(x, int | str)",
        "Name = int | None",
        "from itertools import pairwise",
        "hashlib.file_digest(f, 'sha256')",
    ],
)
def test_rule_sees_what_is_newer(source):
    assert too_new(source)


@pytest.mark.parametrize("source", ["match x:\n    case 1: pass", "try: pass\nexcept* E: pass"])
def test_rule_sees_grammar_that_is_newer(source):
    with pytest.raises(SyntaxError):
        too_new(source)


def test_rule_lets_through_what_does_not_run():
    assert not too_new(
        "from __future__ import annotations\n"
        "if TYPE_CHECKING:\n    from typing import Self\n"
        "def f(x: int | None) -> int | str:\n    y: int | None = x\n    return y or flag | other\n"
    )


def test_program_holds_the_device_side_alone():
    allowed = ("edgeops.runtime", "edgeops.core", "edgeops.errors")
    names = set(pyz.modules()) - {"edgeops"}
    assert all(name.startswith(allowed) for name in names)
    assert {"edgeops.runtime.pairs", "edgeops.runtime.engines.litert"} <= names
    assert "paddle" not in pyz.engines()


def test_program_is_small_and_the_same_each_time(tmp_path):
    one, two = pyz.make(tmp_path / "one.pyz"), pyz.make(tmp_path / "two.pyz")
    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_size < MOST_BYTES
    with zipfile.ZipFile(one) as archive:
        assert archive.namelist() == sorted(archive.namelist())
    assert pyz.program() == pyz.program()
    assert pyz.program().read_bytes() == one.read_bytes()


def asked(python, folder, tmp_path, **request):
    """Have the program answer in a Python, with nothing of this checkout to be found."""
    last, words = told(python, folder, tmp_path, **request)
    assert "answer" in last, f"{last} {words}"
    return last["answer"]


def told(python, folder, tmp_path, **request):
    """Return the last line of the program and what it wrote on standard error."""
    program = pyz.make(tmp_path / "blob")  # no suffix: it is named by its digest on devices
    process = subprocess.Popen(
        [python, "-I", str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
    )
    with process:
        process.stdin.write(json.dumps({"format": FORMAT, **request}).encode() + b"\n")
        process.stdin.flush()
        lines = process.stdout.readlines()
        words = process.stderr.read().decode()
    return json.loads(lines[-1]) if lines else {}, words


def whole_way(python, tmp_path):
    """Ask a Python's program everything there is to ask; return what it is."""
    folder = tmp_path / "work"
    variant(folder / "v")
    variant(folder / "w", seed=1)
    arrays = {"x": np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)}
    few = write_samples(folder / "few.npz", Samples(arrays, None, 40, "", ""))
    common = {"variant": "v", "threads": 1, "few": few, "seconds": 0.1, "least": 10}
    found = asked(python, folder, tmp_path, do="measure", data=few, out="o.npz", **common)
    assert len(found["latency_ns"]) >= 10
    outputs = read_outputs(folder / "o.npz", found["outputs"])
    assert outputs["probabilities"].shape == (40, 3)
    pair = {**common, "against": "w", "trials": 2, "seconds": 0.5}
    assert asked(python, folder, tmp_path, do="pair", **pair)["trials"]
    again = asked(python, folder, tmp_path, do="replay", data=few, out="r.npz", **common)
    assert again["errors"] == {}
    return asked(python, folder, tmp_path, do="about")


def bare_python(folder, python, *packages):
    """Make a Python that has these packages of this environment and no others."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for package in packages:
        for path in sorted(Path(np.__file__).parents[1].glob(f"{package}*")):
            if path.name.split("-")[0].split(".")[0] == package:
                (site / path.name).symlink_to(path)
    return str(folder / "bin" / "python")


def test_program_needs_numpy_and_the_engine_only(tmp_path):
    python = bare_python(tmp_path / "bare", sys.executable, "numpy", "onnxruntime")
    missing = subprocess.run([python, "-I", "-c", "import typer"], capture_output=True, check=False)
    assert missing.returncode == 1
    about = whole_way(python, tmp_path)
    assert "version" in about["engines"]["onnxruntime"]
    assert "missing" in about["engines"]["mnn"]


def test_device_without_numpy_is_told_so(tmp_path):
    python = bare_python(tmp_path / "bare", sys.executable)
    about = asked(python, tmp_path, tmp_path, do="about")
    assert about["numpy"] is None
    assert "No module named 'numpy'" in about["absent"]["numpy"]
    variant(tmp_path / "v")
    last, _ = told(python, tmp_path, tmp_path, do="measure", variant="v", threads=1)
    assert (last["error"]["code"], last["exit"]) == ("numpy-missing", 4)


@pytest.mark.parametrize(
    ("why", "code"),
    [
        ("libonnxruntime.so: wrong ELF class: ELFCLASS32", "engine-wrong-machine"),
        ("libgomp.so.1: cannot open shared object file", "engine-import-failed"),
    ],
)
def test_device_with_a_broken_engine_is_told_so(tmp_path, why, code):
    python = bare_python(tmp_path / "bare", sys.executable, "numpy")
    (site,) = (tmp_path / "bare").glob("lib/python*/site-packages")
    (site / "onnxruntime.py").write_text(f"raise ImportError({why!r})\n")
    about = asked(python, tmp_path, tmp_path, do="about", engines=["onnxruntime"])
    assert why in about["engines"]["onnxruntime"]["missing"]
    variant(tmp_path / "v")
    last, _ = told(python, tmp_path, tmp_path, do="measure", variant="v", threads=1)
    assert (last["error"]["code"], last["exit"]) == (code, 4)
    assert why in last["error"]["why"]


def oldest_python():
    """Return a Python 3.9 of this machine, None when there is none."""
    known = [shutil.which("python3.9"), *sorted(home().glob(".pyenv/versions/3.9*/bin/python3.9"))]
    for path in filter(None, known):
        done = subprocess.run([path, "-c", "import venv"], capture_output=True, check=False)
        if not done.returncode:
            return str(path)
    return None


def home():
    import pwd

    return Path(pwd.getpwuid(os.getuid()).pw_dir)  # not $HOME, which tests replace


@pytest.mark.slow
def test_program_runs_on_the_oldest_python(tmp_path):
    python = oldest_python()
    if python is None:
        pytest.skip("there is no python3.9 on this machine")
    subprocess.run([python, "-m", "venv", str(tmp_path / "old")], check=True, timeout=120)
    there = str(tmp_path / "old" / "bin" / "python")
    made = subprocess.run(
        [there, "-m", "pip", "install", "-q", "--no-deps", "numpy", "onnxruntime"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if made.returncode:
        pytest.skip(f"numpy and onnxruntime cannot be got for it: {made.stderr[-200:]}")
    about = whole_way(there, tmp_path)
    assert about["python"].startswith("3.9")
