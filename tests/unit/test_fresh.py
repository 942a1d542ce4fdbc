"""Whether anything changed, told from a written-down state: never "nothing" when something did."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from edgeops.core.stage import Out, StagePlan
from edgeops.errors import GateFailed
from edgeops.pipeline import fresh
from edgeops.pipeline.lock import md5_file, md5_of
from edgeops.pipeline.plan import Step
from edgeops.pipeline.remember import forget, remember
from tests.helpers import build_tree

RESULT = {
    "stages": [{"name": "s", "target": None, "status": "ran", "seconds": 1.5}],
    "up_to_date": False,
    "verdict": None,
    "gates": [],
}
PLAN = StagePlan(deps=("in.txt", "data"), outs=(Out("out"), Out("one.bin")))
STEPS = (Step("s", None, "command", PLAN, PLAN),)


def entry(root, path):
    return f"    - path: {path}\n      md5: {md5_of(root / path)}\n"


@pytest.fixture
def project(tmp_path):
    """Return a project whose dvc.lock agrees with its files, remembered as up to date."""
    build_tree(
        tmp_path,
        {
            ".dvc/config": "",
            "edgeops.yaml": "project: x\n",
            "in.txt": "input\n",
            "data/a.csv": "1,2\n",
            "data/deep/b.csv": "3,4\n",
            "out/result.json": "{}\n",
            "one.bin": b"\x00\x01",
            "unrelated.txt": "x\n",
        },
    )
    (tmp_path / "dvc.yaml").write_text("stages:\n  s:\n    cmd: x\n    outs:\n    - out\n")
    write_lock(tmp_path)
    time.sleep(0.05)
    assert remember(tmp_path, STEPS, RESULT, began_ns=0)
    return tmp_path


def write_lock(root):
    deps = "".join(entry(root, path) for path in ("in.txt", "data"))
    outs = "".join(entry(root, path) for path in ("out", "one.bin"))
    (root / "dvc.lock").write_text(
        f"schema: '2.0'\nstages:\n  s:\n    cmd: x\n    deps:\n{deps}    outs:\n{outs}"
    )


def test_nothing_changed_is_told_with_every_stage_cached(project):
    assert fresh.check(project) == {
        "stages": [
            {
                "name": "s",
                "target": None,
                "status": "cached",
                "seconds": 0.0,
                "work_seconds": 0.0,
            }
        ],
        "up_to_date": True,
        "verdict": None,
        "gates": [],
        "notes": [],
    }
    assert list(fresh.view(fresh.check(project))) == ["up to date: 1 stages, nothing to do"]


def replace_same_size(path):
    before = path.stat()
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "a dependency grows": lambda root: (root / "in.txt").write_text("more input\n"),
    "a byte changes behind the same size and time": lambda root: replace_same_size(root / "in.txt"),
    "a byte of an output changes": lambda root: replace_same_size(root / "one.bin"),
    "a dependency is gone": lambda root: (root / "in.txt").unlink(),
    "an output folder is gone": lambda root: shutil.rmtree(root / "out"),
    "a file in a folder changes": lambda root: (root / "data/deep/b.csv").write_text("9,9\n"),
    "a file is added to a folder": lambda root: (root / "data/c.csv").write_text("5\n"),
    "a file of a folder is gone": lambda root: (root / "data/a.csv").unlink(),
    "a file becomes a folder": lambda root: ((root / "in.txt").unlink(), (root / "in.txt").mkdir()),
    "edgeops.yaml changes": lambda root: (root / "edgeops.yaml").write_text("project: y\n"),
    "dvc.yaml changes": lambda root: (root / "dvc.yaml").write_text("stages: {}\n"),
    "dvc.lock is gone": lambda root: (root / "dvc.lock").unlink(),
    ".dvcignore appears": lambda root: (root / ".dvcignore").write_text("*.csv\n"),
    "the state is no JSON": lambda root: (root / fresh.STATE).write_text("{"),
    "the state is of another shape": lambda root: (root / fresh.STATE).write_text("[]"),
    "the state is forgotten": forget,
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_unclear(project, change):
    CHANGES[change](project)
    assert fresh.check(project) is None


SAME = {
    "a file is touched": lambda root: (root / "in.txt").touch(),
    "a file is written again as it was": lambda root: (root / "in.txt").write_text("input\n"),
    "a file is replaced by a copy": lambda root: (
        shutil.copy(root / "one.bin", root / "copy"),
        (root / "copy").rename(root / "one.bin"),
    ),
    "an unrelated file changes": lambda root: (root / "unrelated.txt").write_text("y\n"),
}


@pytest.mark.parametrize("change", SAME)
def test_same_content_is_no_change(project, change):
    SAME[change](project)
    assert fresh.check(project) is not None


def test_package_that_is_installed_or_replaced_is_unclear(project, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("packages")
    monkeypatch.syspath_prepend(str(folder))
    assert fresh.check(project) is not None
    (folder / "edgeops_stage_new-1.0.dist-info").mkdir()
    assert fresh.check(project) is None


def test_folder_that_was_moved_as_a_whole_is_still_up_to_date(project, tmp_path_factory):
    goal = tmp_path_factory.mktemp("moved") / "project"
    project.rename(goal)
    assert fresh.check(goal) is not None


def test_verdict_of_the_last_run_is_told_again(project):
    gate = {
        "target": "gateway",
        "name": "accuracy",
        "bound": ">= 0.9",
        "value": 0.5,
        "interval": None,
        "verdict": "fail",
        "why": "judged by its value",
        "evidence": "",
    }
    assert remember(project, STEPS, {**RESULT, "verdict": "fail", "gates": [gate]}, began_ns=0)
    with pytest.raises(GateFailed) as caught:
        fresh.check(project)
    assert caught.value.code == "gate-failed"
    assert caught.value.result["gates"] == [gate]


def test_file_that_differs_from_the_lock_is_not_remembered(project):
    (project / "in.txt").write_text("edited while the run went on\n")
    forget(project)
    assert not remember(project, STEPS, RESULT, began_ns=0)
    assert fresh.check(project) is None


@pytest.mark.parametrize(
    "stage",
    [
        "always_changed: true",
        "wdir: sub",
        "frozen: true",
    ],
)
def test_stage_by_hand_that_only_dvc_understands_is_not_remembered(project, stage):
    (project / "dvc.yaml").write_text(f"stages:\n  s:\n    cmd: x\n    {stage}\n")
    assert not remember(project, STEPS, RESULT, began_ns=0)


def test_digest_of_a_file_older_than_the_run_is_taken_from_the_lock(project):
    lock = (project / "dvc.lock").read_text()
    wrong = lock.replace(md5_file(project / "in.txt"), "a" * 32)
    (project / "dvc.lock").write_text(wrong)
    assert remember(project, STEPS, RESULT, began_ns=time.time_ns())
    state = json.loads((project / fresh.STATE).read_text())
    assert state["files"]["in.txt"][1] == "a" * 32


def test_check_imports_the_standard_library_only(project):
    code = (
        "import sys; before = set(sys.modules)\n"
        "from pathlib import Path\n"
        "from edgeops.pipeline import fresh\n"
        f"assert fresh.check(Path({str(project)!r}))\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(names - set(sys.stdlib_module_names)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["edgeops"]
