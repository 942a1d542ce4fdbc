"""``edgeops init``: lay down a project that runs, whole or not at all.

Everything is made in a folder of its own beside the goal (inside it, when it exists already) and
moved in at the end, so that a failed or killed ``init`` leaves no half project behind.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgeops
from edgeops.core.events import Silence
from edgeops.core.files import canonical_json, disk_errors
from edgeops.errors import InputError, MissingError, UsageProblem
from edgeops.pipeline import dvc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edgeops.core.events import Events

COMMON = "common"
OWN_MODEL = "existing-model"
KEYS = ".edgeops/keys"
SCHEMA = ".edgeops/schema.json"
_STAGING = ".edgeops-init."


@dataclass(frozen=True)
class Request:
    """What ``init`` was asked for.

    ``folder`` is ``root`` as the user named it; ``model`` and the data sets are only for the
    template ``existing-model``.
    """

    root: Path
    folder: str
    template: str = "digits"
    model: Path | None = None
    calibration: Path | None = None
    evaluation: Path | None = None


@dataclass
class _Laid:
    """What was laid down so far: ``words`` fill the template's blanks, ``notes`` are for a person."""

    words: dict[str, str]
    missing: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def init_project(request: Request, *, events: Events | None = None) -> dict[str, Any]:
    """Lay down a project in ``request.root`` and return its name, files and what is still missing.

    The folder may exist when it holds nothing but ``.git``. Raises InputError ``folder-not-empty``
    or what reading the given model raises, UsageProblem ``template-unknown`` or
    ``init-model-missing``, MissingError when DVC cannot be run or the disk is full.
    """
    events = events or Silence()
    _check(request)
    goal = request.root
    with disk_errors(goal):
        new = _staging(goal)
        try:
            result = _lay_down(request, new, events)
            _move_in(new, goal)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
    return result


def templates() -> tuple[str, ...]:
    """Return the names of the templates, the default first."""
    # What lies beside them, such as units for systemd, is for other verbs.
    found = {path.parent.name for path in template_root().glob("*/edgeops.yaml")}
    return tuple(sorted(found, key=lambda name: (name != "digits", name)))


def template_root() -> Path:
    """Return the folder of the templates: inside the installed package, or beside it in a checkout."""
    package = Path(edgeops.__file__).parent
    shipped = package / "_templates"
    return shipped if shipped.is_dir() else package.parent / "templates"


def project_name(folder: Path) -> str:
    """Return a name for the project made from its folder's: lower case, digits and dashes."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return name or "project"


def _check(request: Request) -> None:
    known = templates()
    if request.template not in known:
        near = difflib.get_close_matches(request.template, known, n=1)
        raise UsageProblem(
            "template-unknown",
            f"there is no template {request.template!r}"
            + (f"; did you mean {near[0]!r}?" if near else ""),
            why=f"templates: {', '.join(known)}",
            fix=f"edgeops init {request.folder} --template {near[0] if near else known[0]}",
        )
    brought = (request.model, request.calibration, request.evaluation)
    if (request.template == OWN_MODEL) != (request.model is not None) or (
        request.template != OWN_MODEL and any(brought)
    ):
        raise UsageProblem(
            "init-model-missing",
            f"--model goes with --template {OWN_MODEL}, and that template needs it",
            why="the other templates train a model of their own",
            fix=f"edgeops init {request.folder} --template {OWN_MODEL} --model MODEL.onnx",
        )
    _check_folder(request.root)


def _check_folder(root: Path) -> None:
    if not root.exists():
        return
    if not root.is_dir():
        raise InputError(
            "folder-not-empty",
            f"{root} is a file",
            where=str(root),
            fix="name a folder that does not exist yet, or an empty one",
        )
    in_the_way = sorted(
        path.name
        for path in root.iterdir()
        if path.name != ".git" and not path.name.startswith(_STAGING)
    )
    if in_the_way:
        shown = ", ".join(in_the_way[:8]) + (
            f" and {len(in_the_way) - 8} more" if len(in_the_way) > 8 else ""  # noqa: PLR2004 - a line's worth
        )
        raise InputError(
            "folder-not-empty",
            f"{root} is not empty",
            where=str(root),
            why=f"in the way: {shown}",
            fix="name a folder that does not exist yet: edgeops init NAME",
        )


def _staging(goal: Path) -> Path:
    """Make the folder to build in: on the same disk as the goal, so that moving is renaming."""
    beside = goal if goal.is_dir() else goal.parent
    beside.mkdir(parents=True, exist_ok=True)
    for left in beside.glob(f"{_STAGING}*") if goal.is_dir() else ():
        shutil.rmtree(left, ignore_errors=True)
    new = beside / f"{_STAGING}{secrets.token_hex(4)}"
    new.mkdir()
    return new


def _lay_down(request: Request, new: Path, events: Events) -> dict[str, Any]:
    name = project_name(request.root)
    laid = _Laid({"project": name, "edgeops_version": edgeops.__version__})
    events.step(f"laying down the template {request.template}")
    if request.model is not None:
        _bring_model(request, request.model, new, laid)
    for part in (COMMON, request.template):
        _copy_template(template_root() / part, new, laid.words)
    _schema(new / SCHEMA)
    events.step("making signing keys")
    _keys(new / KEYS)
    laid.notes.append(
        f"{KEYS} holds new signing keys; git ignores them: keep a copy where only you can read it"
    )
    events.step("setting up git and DVC")
    git = _git_and_dvc(request.root, new, laid)
    return {
        "project": name,
        "root": str(request.root),
        "folder": request.folder,
        "template": request.template,
        "files": list(_files(new)),
        "git": git,
        "missing": laid.missing,
        "notes": laid.notes,
    }


def _copy_template(source: Path, new: Path, words: Mapping[str, str]) -> None:
    for path in sorted(source.rglob("*")):
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        goal = new / path.relative_to(source)
        goal.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(f"__{word}__", value)
        goal.write_text(text, encoding="utf-8")


def _schema(path: Path) -> None:
    from edgeops.project.jsonschema import json_schema

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(canonical_json(json_schema()))


def _keys(folder: Path) -> None:
    from edgeops.publish.keys import init_keys

    init_keys(folder)


def _bring_model(request: Request, model: Path, new: Path, laid: _Laid) -> None:
    """Copy the model and the data sets that were named, and say which are still missing."""
    from edgeops.model.load import load_model

    loaded = load_model(model)
    laid.words["model"] = model.name
    shutil.copyfile(model, new / model.name)
    for name in _external_files(model):
        goal = new / name
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.parent / name, goal)
    laid.words["inputs"] = "\n".join(
        f"* `{tensor.name}`: {tensor.dtype} [{', '.join(map(str, tensor.shape))}]"
        for tensor in loaded.inputs
    )
    laid.words["arguments"] = ", ".join(_argument(tensor.name) for tensor in loaded.inputs)
    for role, source in (("calibration", request.calibration), ("evaluation", request.evaluation)):
        goal = new / "data" / f"{role}.npz"
        goal.parent.mkdir(exist_ok=True)
        if source is not None:
            _check_data(source, loaded.inputs, labels=role == "evaluation")
            shutil.copyfile(source, goal)
            continue
        arrays = ", ".join(tensor.name for tensor in loaded.inputs)
        labels = ", labels" if role == "evaluation" else ""
        laid.missing.append(
            {
                "path": f"data/{role}.npz",
                "what": f"an .npz with the arrays {arrays}{labels}; one sample per row",
            }
        )


def _argument(name: str) -> str:
    return f"{name}={name}" if name.isidentifier() else f"**{{{name!r}: array}}"


def _check_data(source: Path, inputs: Iterable[Any], *, labels: bool) -> None:
    from edgeops.errors import from_findings
    from edgeops.project.datasets import check_fit, load_samples

    samples = load_samples(str(source), source.parent)
    findings = check_fit(samples, tuple(inputs), labels=labels)
    if findings:
        raise from_findings(findings)


def _external_files(model: Path) -> Iterable[str]:
    """Return the files beside the model that hold its weights; load_model has checked them."""
    import onnx

    from edgeops.model.external import external_files

    return external_files(onnx.load(str(model), load_external_data=False), model)


def _git_and_dvc(goal: Path, new: Path, laid: _Laid) -> str:
    """Initialise git and DVC in the new folder; return ``created``, ``found`` or ``absent``."""
    if shutil.which("git") is None:
        dvc.initialise(new, "--no-scm")
        laid.notes.append(
            "git is not installed: DVC was set up without it (no experiments, no diffs)"
        )
        return "absent"
    found = _work_tree(goal)
    # DVC looks for a repository above it; this one is thrown away again where there is one.
    _run([*_GIT, "init", "--quiet"], new)
    dvc.initialise(new)
    if found is None:
        return "created"
    shutil.rmtree(new / ".git")
    if found != goal.resolve():
        laid.notes.append(
            f"the project lies inside the git repository {found}: GitHub only runs workflows from"
            " the .github folder at its top"
        )
    return "found"


_GIT = ("git", "-c", "init.defaultBranch=main")


def _work_tree(goal: Path) -> Path | None:
    """Return the top of the git repository that the goal lies in, or None."""
    folder = goal
    while not folder.is_dir():
        folder = folder.parent
    answer = subprocess.run(
        ["git", "rev-parse", "--show-toplevel"],  # noqa: S607 - the git that the user would run
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    top = answer.stdout.strip()
    return Path(top).resolve() if answer.returncode == 0 and top else None


def _environment() -> dict[str, str]:
    """Return the environment without what git hooks set, which would lead to another repository."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    }


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise MissingError(
            "init-tool-failed",
            f"{' '.join(command)} ended with exit code {done.returncode}",
            where=str(folder),
            why=(done.stderr or done.stdout).strip()[-2000:],
            fix="mend what it says (edgeops doctor shows what is installed) and run init again",
        )


def _files(new: Path) -> Iterator[str]:
    for path in sorted(new.rglob("*")):
        name = path.relative_to(new).as_posix()
        if path.is_file() and not name.startswith((".git/", ".dvc/tmp/")):
            yield name


def _move_in(new: Path, goal: Path) -> None:
    """Rename the finished folder to its goal, or its parts into the goal that is there already."""
    if not goal.is_dir():
        new.rename(goal)
        return
    names = sorted(path.name for path in new.iterdir())
    try:
        for name in names:
            (new / name).rename(goal / name)
    except OSError:
        for path in (goal / name for name in names if not (new / name).exists()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
    new.rmdir()
