from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeops.cli import main
from edgeops.pipeline.init import project_name
from tests.helpers import write_tiny_data, write_tiny_model


def init(capsys, *arguments):
    """Return exit code and JSON result of ``edgeops init``."""
    capsys.readouterr()
    code = main(["init", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def git(folder, *arguments):
    return subprocess.run(
        ["git", *arguments],  # noqa: S607 - the git on the path, as a user's
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def everything(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_init_lays_down_a_project_named_after_its_folder(tmp_path, capsys):
    code, result = init(capsys, tmp_path / "My Digits")
    root = tmp_path / "My Digits"
    assert code == 0
    assert result["project"] == "my-digits"
    assert result["git"] == "created"
    assert result["missing"] == []
    for name in (
        "edgeops.yaml",
        "train.py",
        "labels.txt",
        "README.md",
        ".gitignore",
        ".github/workflows/edgeops.yml",
        ".edgeops/schema.json",
        ".edgeops/keys/root.json",
        ".edgeops/keys/targets.pem",
        ".dvc/config",
    ):
        assert name in result["files"]
        assert (root / name).is_file()
    first, second = (root / "edgeops.yaml").read_text().split("\n")[:2]
    assert first == "# yaml-language-server: $schema=.edgeops/schema.json"
    assert second == "project: my-digits"
    schema = json.loads((root / ".edgeops/schema.json").read_text())
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_init_leaves_no_blank_unfilled(tmp_path, capsys):
    model = write_tiny_model(tmp_path / "net.onnx")
    init(capsys, tmp_path / "one")
    init(capsys, tmp_path / "two", "--template", "existing-model", "--model", model)
    for root in (tmp_path / "one", tmp_path / "two"):
        for path in root.rglob("*"):
            if path.is_file() and path.suffix in (".md", ".yaml", ".yml"):
                assert "__" not in path.read_text(), path


def test_init_keeps_the_signing_keys_out_of_git_and_private(tmp_path, capsys):
    init(capsys, tmp_path / "p")
    root = tmp_path / "p"
    git(root, "add", "--all")
    tracked = git(root, "ls-files").split("\n")
    assert "edgeops.yaml" in tracked
    assert ".edgeops/schema.json" in tracked
    assert not [name for name in tracked if "keys" in name]
    assert (root / ".edgeops/keys/targets.pem").stat().st_mode & 0o077 == 0


def test_init_makes_other_keys_for_every_project(tmp_path, capsys):
    for name in ("one", "two"):
        init(capsys, tmp_path / name)
    one, two = (
        (tmp_path / name / ".edgeops/keys/root.json").read_bytes() for name in ("one", "two")
    )
    assert one != two


def test_init_takes_the_working_directory_when_no_folder_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, result = init(capsys)
    assert code == 0
    assert result["project"] == "here"
    assert (tmp_path / "here/edgeops.yaml").is_file()
    assert not list((tmp_path / "here").glob(".edgeops-init*"))


def test_init_keeps_the_git_repository_that_is_there(tmp_path, capsys):
    root = tmp_path / "cloned"
    root.mkdir()
    git(root, "init", "--quiet")
    git(root, "commit", "--quiet", "--allow-empty", "-m", "first")
    before = git(root, "rev-parse", "HEAD")
    code, result = init(capsys, root)
    assert code == 0
    assert result["git"] == "found"
    assert git(root, "rev-parse", "HEAD") == before
    assert (
        subprocess.run([sys.executable, "-m", "dvc", "status"], cwd=root, check=False).returncode
        == 0
    )


def test_init_makes_no_repository_inside_another(tmp_path, capsys):
    git(tmp_path, "init", "--quiet")
    code, result = init(capsys, tmp_path / "part")
    assert code == 0
    assert result["git"] == "found"
    assert not (tmp_path / "part/.git").exists()
    assert any(str(tmp_path) in note and "workflows" in note for note in result["notes"])
    assert git(tmp_path / "part", "rev-parse", "--show-toplevel").strip() == str(tmp_path.resolve())


def test_init_works_without_git_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    code, result = init(capsys, tmp_path / "p")
    assert code == 0
    assert result["git"] == "absent"
    assert any("git is not installed" in note for note in result["notes"])
    assert not (tmp_path / "p/.git").exists()
    assert "no_scm = True" in (tmp_path / "p/.dvc/config").read_text()


def test_init_is_not_led_astray_by_a_hook_environment(tmp_path, monkeypatch, capsys):
    git(tmp_path, "init", "--quiet", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    code, result = init(capsys, tmp_path / "p")
    assert code == 0
    assert result["git"] == "created"


@pytest.mark.parametrize("name", ["notes.txt", ".env", "src"])
def test_init_refuses_a_folder_with_anything_in_it_and_touches_nothing(tmp_path, capsys, name):
    root = tmp_path / "mine"
    root.mkdir()
    (root / name).mkdir() if name == "src" else (root / name).write_text("mine")
    code, result = init(capsys, root)
    assert code == 3
    assert result["error"]["code"] == "folder-not-empty"
    assert name in result["error"]["why"]
    assert everything(root) == [name]


def test_init_refuses_a_file_in_place_of_the_folder(tmp_path, capsys):
    (tmp_path / "taken").write_text("mine")
    code, result = init(capsys, tmp_path / "taken")
    assert code == 3
    assert result["error"]["code"] == "folder-not-empty"
    assert (tmp_path / "taken").read_text() == "mine"


def test_init_names_the_nearest_template(tmp_path, capsys):
    code, result = init(capsys, tmp_path / "p", "--template", "digit")
    assert code == 2
    assert result["error"]["code"] == "template-unknown"
    assert "'digits'" in result["error"]["what"]
    assert everything(tmp_path) == []


@pytest.mark.parametrize(
    "options", [["--template", "existing-model"], ["--model", "m.onnx"], ["--evaluation", "e.npz"]]
)
def test_init_refuses_options_that_do_not_go_together(tmp_path, capsys, options):
    code, result = init(capsys, tmp_path / "p", *options)
    assert code == 2
    assert result["error"]["code"] == "init-model-missing"
    assert everything(tmp_path) == []


def test_init_brings_the_model_and_says_what_is_missing(tmp_path, capsys):
    model = write_tiny_model(tmp_path / "net.onnx")
    code, result = init(capsys, tmp_path / "p", "--template", "existing-model", "--model", model)
    assert code == 0
    assert (tmp_path / "p/net.onnx").read_bytes() == model.read_bytes()
    assert "model: net.onnx\n" in (tmp_path / "p/edgeops.yaml").read_text()
    assert [item["path"] for item in result["missing"]] == [
        "data/calibration.npz",
        "data/evaluation.npz",
    ]
    assert "the arrays x, labels" in result["missing"][1]["what"]
    readme = (tmp_path / "p/README.md").read_text()
    assert "* `x`: float32 [N, 4]" in readme
    assert 'np.savez("data/evaluation.npz", x=x, labels=labels)' in readme


def test_init_brings_data_that_fits(tmp_path, capsys):
    model = write_tiny_model(tmp_path / "net.onnx")
    data = write_tiny_data(tmp_path / "d.npz", model)
    arguments = ["--template", "existing-model", "--model", model]
    code, result = init(
        capsys, tmp_path / "p", *arguments, "--calibration", data, "--evaluation", data
    )
    assert code == 0
    assert result["missing"] == []
    assert (tmp_path / "p/data/evaluation.npz").read_bytes() == data.read_bytes()


def test_init_refuses_data_that_does_not_fit_and_leaves_nothing(tmp_path, capsys):
    import numpy as np

    model = write_tiny_model(tmp_path / "net.onnx")
    np.savez(tmp_path / "d.npz", x=np.zeros((5, 3), np.float32), labels=np.zeros(5, int))
    arguments = ["--template", "existing-model", "--model", model]
    code, result = init(capsys, tmp_path / "p", *arguments, "--evaluation", tmp_path / "d.npz")
    assert code == 3
    assert "error" in result
    assert everything(tmp_path) == ["d.npz", "net.onnx"]


def test_init_refuses_a_broken_model_and_leaves_nothing(tmp_path, capsys):
    (tmp_path / "net.onnx").write_bytes(b"not a model at all")
    arguments = ["--template", "existing-model", "--model", tmp_path / "net.onnx"]
    code, result = init(capsys, tmp_path / "p", *arguments)
    assert code == 3
    assert result["error"]["code"].startswith("model-")
    assert everything(tmp_path) == ["net.onnx"]


def test_init_brings_external_weights_along(tmp_path, capsys):
    import onnx

    model = write_tiny_model(tmp_path / "from/net.onnx")
    onnx.save(
        onnx.load(model), model, save_as_external_data=True, location="net.bin", size_threshold=0
    )
    code, _ = init(capsys, tmp_path / "p", "--template", "existing-model", "--model", model)
    assert code == 0
    onnx.load(tmp_path / "p/net.onnx")
    assert (tmp_path / "p/net.bin").read_bytes() == (tmp_path / "from/net.bin").read_bytes()


def test_init_leaves_nothing_when_dvc_fails(tmp_path, monkeypatch, capsys):
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "git").write_text("#!/bin/sh\necho 'git: no such luck' >&2\nexit 9\n")
    (broken / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken}{os.pathsep}{os.environ['PATH']}")
    code, result = init(capsys, tmp_path / "p")
    assert code == 4
    assert result["error"]["code"] == "init-tool-failed"
    assert "no such luck" in result["error"]["why"]
    assert everything(tmp_path) == ["bin", "bin/git"]


def test_init_goes_on_where_a_killed_one_left_its_folder(tmp_path, capsys):
    root = tmp_path / "p"
    (root / ".edgeops-init.dead0000/data").mkdir(parents=True)
    code, _ = init(capsys, root)
    assert code == 0
    assert not list(root.glob(".edgeops-init*"))


def test_init_text_says_what_to_type_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "shop"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("shop: ")
    assert lines[0].endswith(f" files in {tmp_path}/shop")
    assert lines[1] == "  git and DVC are set up; nothing is committed yet"
    assert lines[-3:] == ["next:", "  cd shop", "  edgeops run"]
    assert main(["init", "my shop"]) == 0
    assert "  cd 'my shop'\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("folder", "name"), [("My Digits", "my-digits"), ("a_b.c", "a-b-c"), ("---", "project")]
)
def test_project_name_is_one_that_edgeops_yaml_takes(tmp_path, folder, name):
    assert project_name(tmp_path / folder) == name


def test_init_golden_errors(tmp_path, monkeypatch, capsys, golden):
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    for case, arguments in {
        "init-folder-not-empty": ["full"],
        "init-template-unknown": ["p", "--template", "digit"],
        "init-model-missing": ["p", "--template", "existing-model"],
    }.items():
        main(["init", *arguments])
        golden(f"errors/{case}.txt", capsys.readouterr().err)
