"""The wheel alone, in an environment of its own: every file is there and every verb answers."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgeops.commands import VERBS

CHECKOUT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the wheel, built from the checkout as it is."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(CHECKOUT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("edgeops-*-py3-none-any.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return a Python of an environment with the wheel alone; dependencies come from this one.

    The dependencies are seen through a .pth file, without the editable installation of the
    checkout, so that whatever edgeops has it has from the wheel.
    """
    folder = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin/python"
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    links = tmp_path_factory.mktemp("links")
    for path in next(Path(sys.prefix).glob("lib/python*/site-packages")).iterdir():
        if "edgeops" not in path.name and path.suffix != ".pth":
            (links / path.name).symlink_to(path)
    (site / "dependencies.pth").write_text(f"{links}\n")
    for name, module in (
        ("edgeops", "edgeops.__main__"),
        ("edgeops-agent", "edgeops.runtime.agent.cli"),
    ):
        script = folder / "bin" / name
        script.write_text(f"#!{python}\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
        script.chmod(0o755)
    return python


def run(python, folder, *arguments, check=True):
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    environment["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(python.parent / "edgeops"), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=check,
    )


def test_wheel_holds_every_file_of_the_package_and_the_templates(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    listed = subprocess.run(
        ["git", "ls-files", "edgeops", "templates"],  # noqa: S607 - the git on the path
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    wanted = {
        name if name.startswith("edgeops/") else name.replace("templates/", "edgeops/_templates/")
        for name in listed
        if name
    }
    assert wanted - names == set()
    assert not [name for name in names if "__pycache__" in name or not name.startswith("edgeops/")]


def test_wheel_has_the_metadata_that_a_user_sees(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [
            name.split(".dist-info/")[1] for name in archive.namelist() if ".dist-info/" in name
        ]
        text = archive.read(
            next(name for name in archive.namelist() if name.endswith("/METADATA"))
        ).decode()
        points = archive.read(
            next(name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        ).decode()
    assert sorted(names) == ["METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"]
    assert "Requires-Python: >=3.11\n" in text
    assert "License-Expression: Apache-2.0\n" in text
    assert "[console_scripts]\nedgeops = edgeops.__main__:main\n" in points


def test_wheel_is_not_the_checkout(installed, tmp_path):
    done = subprocess.run(
        [installed, "-c", "import edgeops; print(edgeops.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(installed.parent.parent)


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_wheel_answers_help(installed, tmp_path, verb):
    done = run(installed, tmp_path, *([verb] if verb else []), "--help")
    assert done.stdout.startswith("Usage: edgeops")
    assert done.stderr == ""


def test_wheel_has_nothing_broken_and_explains_its_codes(installed, tmp_path):
    assert "broken" not in run(installed, tmp_path, "plugins").stdout
    assert "disk-full" in run(installed, tmp_path, "explain").stdout
    assert run(installed, tmp_path, "doctor").returncode == 0


def test_wheel_runs_the_demo(installed, tmp_path):
    environment = os.environ | {"PATH": f"{installed.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", str(CHECKOUT / "scripts/demo.sh")],  # noqa: S607 - as make demo calls it
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the device says" in done.stdout
    assert "rolled back by hand" in done.stdout.splitlines()[-1]
