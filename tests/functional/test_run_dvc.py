"""``edgeops run`` on real DVC: what it makes is what dvc itself agrees with."""

from __future__ import annotations

import json
import random
import sys

import pytest

from edgeops.cli import main
from edgeops.pipeline import fresh
from tests.functional._toy import (
    dvc,
    edit,
    git,
    plugin,
    run,
    run_json,
    started,
    statuses,
    toy,
    wait_for,
)

CLEAN = "Data and pipelines are up to date.\n"


def test_first_run_makes_everything_and_the_second_does_nothing(tmp_path, capsys):
    root = toy(tmp_path)
    code, document = run_json(root, capsys)
    assert code == 0
    assert statuses(document) == {"train": "ran", "count": "ran", "ship": "ran"}
    assert document["up_to_date"] is False
    assert json.loads((root / "counts.json").read_text()) == {"letters": 3}
    assert dvc(root, "status") == CLEAN
    before = (root / "dvc.yaml").stat().st_mtime_ns

    code, document = run_json(root, capsys)
    assert code == 0
    assert statuses(document) == {"train": "cached", "count": "cached", "ship": "cached"}
    assert document["up_to_date"] is True

    fresh_answer = document
    (root / fresh.STATE).unlink()
    code, document = run_json(root, capsys)
    assert (code, document) == (0, fresh_answer), "DVC says the same as the quick answer"
    assert (root / "dvc.yaml").stat().st_mtime_ns == before


def test_text_names_every_stage_and_then_that_nothing_is_to_do(tmp_path, capsys):
    root = toy(tmp_path)
    assert run(root) == 0
    said = capsys.readouterr()
    assert "DVC was set up in this project" in said.out
    assert "train: trained" in said.err, "a command's own output is shown"
    assert run(root) == 0
    assert capsys.readouterr().out == "up to date: 3 stages, nothing to do\n"


def test_run_without_git_says_so_and_works(tmp_path, capsys):
    root = toy(tmp_path, with_git=False)
    code, document = run_json(root, capsys)
    assert code == 0
    assert any("without git" in note for note in document["notes"])
    assert dvc(root, "status") == CLEAN


def test_only_what_depends_on_a_change_runs_again(tmp_path, capsys):
    root = toy(tmp_path)
    assert run(root) == 0
    (root / "count.py").write_text((root / "count.py").read_text() + "# changed\n")
    assert statuses(run_json(root, capsys)[1]) == {
        "train": "cached",
        "count": "ran",
        "ship": "cached",
    }
    edit(root, "project: toy", "project: other")
    assert set(statuses(run_json(root, capsys)[1]).values()) == {"cached"}
    edit(root, "version: 1.0.0", "version: 1.0.1")
    assert statuses(run_json(root, capsys)[1])["train"] == "ran"


def test_force_runs_everything_again(tmp_path, capsys):
    root = toy(tmp_path)
    assert run(root) == 0
    assert set(statuses(run_json(root, capsys, "--force")[1]).values()) == {"ran"}


def test_named_stage_runs_with_what_it_needs_and_nothing_more(tmp_path, capsys):
    root = toy(tmp_path)
    _, document = run_json(root, capsys, "count")
    assert statuses(document) == {"train": "ran", "count": "ran"}
    assert not (root / "shipped").exists()
    assert fresh.check(root) is None, "only a whole run may be taken for up to date"


def test_output_that_persists_is_added_to(tmp_path):
    root = toy(tmp_path)
    assert run(root) == 0
    (root / "source.txt").write_text("two\n")
    assert run(root) == 0
    assert sorted(path.name for path in (root / "shipped").iterdir()) == ["one.txt", "two.txt"]


def test_dry_run_says_what_would_run_and_why_and_writes_nothing(tmp_path, capsys):
    root = toy(tmp_path)
    code, document = run_json(root, capsys, "--dry-run")
    assert code == 0
    assert [row["because"] for row in document["stages"]] == [["it never ran"]] * 3
    assert sorted(path.name for path in root.iterdir()) == [
        ".git",
        "count.py",
        "edgeops.yaml",
        "source.txt",
    ]
    assert run(root) == 0
    (root / "source.txt").write_text("two\n")
    _, document = run_json(root, capsys, "--dry-run")
    assert [(row["name"], row["would_run"], row["because"]) for row in document["stages"]] == [
        ("train", True, ["source.txt changed"]),
        ("count", True, ["train runs"]),
        ("ship", True, ["train runs", "count runs"]),
    ]
    assert document["up_to_date"] is False


def test_stage_by_hand_is_kept_and_takes_part(tmp_path, capsys):
    root = toy(tmp_path)
    mine = "# mine\nstages:\n  # makes it loud\n  loud:\n    cmd: tr a-z A-Z < build/model.txt > loud.txt\n"
    mine += "    deps: [build/model.txt]\n    outs: [loud.txt]\n"
    (root / "dvc.yaml").write_text(mine)
    _, document = run_json(root, capsys)
    assert statuses(document)["loud"] == "ran"
    assert (root / "loud.txt").read_text() == "ONE\n"
    text = (root / "dvc.yaml").read_text()
    assert all(line in text.splitlines() for line in mine.splitlines())
    assert run_json(root, capsys)[1]["up_to_date"] is True
    assert dvc(root, "status") == CLEAN


def test_key_that_is_taken_away_runs_its_stage_again(tmp_path, capsys):
    root = toy(tmp_path)
    assert run(root) == 0
    edit(root, "    params: [version]\n", "")
    assert statuses(run_json(root, capsys)[1])["train"] == "ran"
    assert dvc(root, "status") == CLEAN


def test_restored_output_is_not_called_up_to_date(tmp_path, capsys):
    root = toy(tmp_path)
    assert run(root) == 0
    (root / "counts.json").unlink()
    _, document = run_json(root, capsys)
    assert statuses(document)["count"] == "cached"
    assert (root / "counts.json").exists()


def test_multi_line_command_is_one_script(tmp_path):
    root = toy(
        tmp_path,
        """
        project: toy
        version: 1.0.0
        model: m.txt
        stages:
          train:
            run: |
              word=${UNSET:-one}
              if true; then
                echo "$word" > m.txt
              fi
            outs: [m.txt]
        """,
    )
    assert run(root) == 0
    assert (root / "m.txt").read_text() == "one\n"
    assert dvc(root, "status") == CLEAN


def test_failed_command_shows_its_own_output(tmp_path, capsys, golden):
    root = toy(tmp_path)
    edit(root, "cp source.txt build/model.txt", "cat no-such-file")
    assert run(root) == 10
    said = capsys.readouterr().err
    golden("errors/run-command-failed.txt", said[said.index("error:") :])
    _, document = run_json(root, capsys)
    assert document["error"]["code"] == "stage-failed"
    assert statuses(document) == {"train": "failed", "count": "skipped", "ship": "skipped"}
    assert fresh.check(root) is None


BAD = {
    "run-cycle": ("deps: [source.txt]", "deps: [source.txt, shipped]", 3),
    "run-dep-missing": ("deps: [source.txt]", "deps: [sauce.txt, other/x]", 3),
    "run-out-taken": ("persist: [shipped]", "persist: [build]", 3),
    "run-param-unknown": ("params: [version]", "params: [stages.train.speed]", 3),
    "project-many": ("version: 1.0.0", "version: 1.0\ntargts: {}\ntargets: {A: {engine: x}}", 3),
    "project-syntax": ("version: 1.0.0", "version: [1", 3),
    "project-path-outside": ("model: build/model.txt", "model: /models/m.onnx", 3),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("mode", ["--dry-run", "--force"])
def test_bad_project_is_refused_before_anything_is_written(tmp_path, capsys, golden, case, mode):
    root = toy(tmp_path)
    old, new, code = BAD[case]
    edit(root, old, new)
    assert run(root, mode) == code
    golden(f"errors/{case}.txt", capsys.readouterr().err)
    assert not (root / "dvc.yaml").exists()
    assert not (root / ".dvc").exists()


def test_findings_of_a_dry_run_are_all_in_the_document(tmp_path, capsys):
    root = toy(tmp_path)
    edit(root, "deps: [source.txt]", "deps: [a, b]")
    edit(root, "deps: [build/model.txt, count.py]", "deps: [build/model.txt, c]")
    code, document = run_json(root, capsys, "--dry-run")
    assert code == 3
    assert [(one["code"], one["where"]) for one in document["findings"]] == [
        ("dep-missing", "edgeops.yaml:5:3"),
        ("dep-missing", "edgeops.yaml:5:3"),
        ("dep-missing", "edgeops.yaml:10:3"),
    ]


def test_missing_project_is_refused(tmp_path, capsys, golden):
    assert run(tmp_path) == 3
    golden("errors/project-missing.txt", capsys.readouterr().err)


def test_dvc_stage_with_a_taken_name_is_refused_with_its_place(tmp_path, capsys, golden):
    root = toy(tmp_path)
    (root / "dvc.yaml").write_text("stages:\n  train:\n    cmd: mine\n")
    assert run(root) == 3
    golden("errors/run-stage-taken.txt", capsys.readouterr().err)
    assert (root / "dvc.yaml").read_text() == "stages:\n  train:\n    cmd: mine\n"


@pytest.mark.parametrize(
    ("arguments", "case"),
    [
        (["trian"], "run-stage-unknown"),
        (["--target", "gateway"], "run-target-unknown"),
        (["train@gateway"], "run-target-unknown"),
    ],
)
def test_unknown_stage_or_target_is_a_usage_error(tmp_path, capsys, golden, arguments, case):
    assert run(toy(tmp_path), *arguments) == 2
    golden(f"errors/{case}.txt", capsys.readouterr().err)


def test_stage_verb_runs_one_stage_as_dvc_does(tmp_path, capsys):
    root = toy(tmp_path)
    assert main(["-C", str(root), "stage", "train", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["stage"], document["target"]) == ("train", None)
    assert (root / "build/model.txt").read_text() == "one\n"


def test_stage_verb_shows_the_output_of_a_failed_command(tmp_path, capsys):
    root = toy(tmp_path)
    edit(root, "cp source.txt build/model.txt", "cat no-such-file")
    assert main(["-C", str(root), "stage", "train", "--json"]) == 10
    assert "no-such-file" in json.loads(capsys.readouterr().out)["error"]["why"]


def test_second_run_at_the_same_time_is_told_so(tmp_path, capsys):
    root = toy(tmp_path)
    edit(root, "echo trained", "echo $$ > pid && sleep 60")
    first = started(root)
    try:
        wait_for(root / "pid")
        code, document = run_json(root, capsys)
        assert (code, document["error"]["code"]) == (30, "dvc-busy")
    finally:
        first.terminate()
        first.communicate(timeout=120)


@pytest.mark.slow
def test_dvc_works_on_the_project_without_edgeops(tmp_path, capsys, tmp_path_factory):
    root = toy(tmp_path)
    assert run(root) == 0
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    assert "didn't change, skipping" in dvc(root, "repro")
    assert "train" in dvc(root, "dag")
    assert json.loads(dvc(root, "metrics", "show", "--json"))[""]["data"]["counts.json"][
        "data"
    ] == {"letters": 3}
    dvc(root, "exp", "run", "-S", "edgeops.yaml:version=2.0.0")
    assert "version: 2.0.0" in (root / "edgeops.yaml").read_text()
    difference = json.loads(dvc(root, "params", "diff", "--json"))
    assert difference["edgeops.yaml"]["version"] == {"old": "1.0.0", "new": "2.0.0"}
    code, document = run_json(root, capsys)
    assert code == 0
    assert set(statuses(document).values()) == {"cached"}, "the experiment's results count"

    remote = tmp_path_factory.mktemp("remote")
    dvc(root, "remote", "add", "--default", "store", str(remote))
    dvc(root, "push", "--run-cache")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "second")
    clone = tmp_path_factory.mktemp("clone") / "project"
    git(root, "clone", "--quiet", str(root), str(clone))
    dvc(clone, "pull", "--run-cache")
    code, document = run_json(clone, capsys)
    assert (code, document["up_to_date"]) == (0, True)


# Each target waits for the other to begin: only side by side do both see that.
SLEEPER = """
    import time
    from dataclasses import dataclass
    from pathlib import Path
    from edgeops.plugin import Out, StageInfo, StagePlan, StageResult, write_atomic

    @dataclass(frozen=True)
    class Options:
        seconds: float = 2.0

    class Plugin:
        info = StageInfo("sleeper", "Sleep a while for each target.")
        Options = Options

        def plan(self, project, target, options):
            return StagePlan(deps=(project.model,), outs=(Out(f"slept/{target.name}.txt"),))

        def preflight(self, root, project, target, options):
            return []

        def run(self, context, options):
            here = Path(__file__).parent
            (here / f"{context.target.name}.began").touch()
            end = time.monotonic() + options.seconds
            while len(list(here.glob("*.began"))) < 2 and time.monotonic() < end:
                time.sleep(0.05)
            out = context.path(f"slept/{context.target.name}.txt")
            write_atomic(out, b"together" if time.monotonic() < end else b"alone")
            return StageResult()
"""


@pytest.mark.slow
def test_jobs_work_on_targets_side_by_side(tmp_path, tmp_path_factory):
    root = toy(
        tmp_path,
        """
        project: toy
        version: 1.0.0
        model: m.txt
        targets: {a: , b: }
        stages:
          train: {run: cp source.txt m.txt, deps: [source.txt], outs: [m.txt]}
          sleeper: {uses: sleeper, seconds: 60.0}
          join: {run: cat slept/*.txt > all.txt, deps: [slept/a.txt, slept/b.txt], outs: [all.txt]}
        """,
    )
    path = str(plugin(tmp_path_factory.mktemp("plugins"), "sleeper", SLEEPER))
    process = started(root, "--jobs", "2", "--json", PYTHONPATH=path)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert statuses(json.loads(out)) == {
        "train": "ran",
        "sleeper@a": "ran",
        "sleeper@b": "ran",
        "join": "ran",
    }
    assert [(root / f"slept/{name}.txt").read_text() for name in "ab"] == ["together"] * 2
    again = started(root, "--json", PYTHONPATH=path)
    assert json.loads(again.communicate(timeout=120)[0])["up_to_date"] is True


@pytest.mark.slow
def test_quick_answer_never_says_more_than_dvc_status(tmp_path):
    root = toy(tmp_path)
    assert run(root) == 0
    random_ = random.Random(7)  # noqa: S311 - the same edits every time
    files = ["source.txt", "count.py", "build/model.txt", "counts.json", "shipped/one.txt"]
    quick = 0
    for _ in range(12):
        path = root / random_.choice(files)
        before = path.read_bytes() if path.exists() else b""
        edits = {
            "nothing": lambda: None,
            "touch": path.touch,
            "same": lambda path=path, before=before: path.write_bytes(before),
            "byte": lambda path=path, before=before: path.write_bytes(before[::-1]),
            "gone": lambda path=path: path.unlink(missing_ok=True),
            "beside": lambda: (root / "shipped" / "extra.txt").write_text("x"),
        }
        edits[random_.choice(sorted(edits))]()
        if fresh.check(root) is not None:
            quick += 1
            assert json.loads(dvc(root, "status", "--json")) == {}
        else:
            assert run(root) in (0, 10)
    assert quick, "the quick answer was given at least once"


def test_environment_of_stages_finds_this_python(tmp_path):
    root = toy(tmp_path)
    edit(root, "echo trained", "python -c 'import sys; print(sys.prefix)' > build/prefix.txt")
    edit(root, "outs: [build/model.txt]", "outs: [build/model.txt, build/prefix.txt]")
    done = started(root, PATH="/usr/bin:/bin")
    assert done.wait(timeout=120) == 0, done.communicate()
    done.communicate()

    assert (root / "build/prefix.txt").read_text().strip() == sys.prefix
