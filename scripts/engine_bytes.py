# ruff: noqa: INP001, T201 - a script of the Makefile, part of no package; it prints
"""Measure what each engine adds to an application, and write edgeops/validate/engine_bytes.toml.

    python scripts/engine_bytes.py [--only ENGINE,...]

Each engine loads a small model and runs it once, on this machine and in the arm64 userland
(``edgeops env create emulated-arm64``). What that process has mapped or imported of the engine's
packages, and had not before, is what an application needs: shared libraries and Python files, not
the converters, headers, tests and training code that are in a wheel too. numpy is left out, for
edgeops's runtime needs it with every engine. The files are measured in the wheels that pip
downloads for each architecture; files of packages that the engine imports are measured where they
are installed. Packed is the sum of the files, each deflated on the highest level, as in a wheel or
an Android package. Wheels say nothing of the libraries for Android, which no index has.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _tables import put, table  # noqa: E402 - found below the root

from edgeops.validate.devices.emulated.device import EmulatedDevice  # noqa: E402 - found below the root
from edgeops.validate.devices.emulated.userland import ARM64  # noqa: E402 - as above
from edgeops.validate.pyz import program  # noqa: E402 - as above
from tests.helpers import write_tiny_model  # noqa: E402 - as above

GOAL = ROOT / "edgeops" / "validate" / "engine_bytes.toml"
PAGE = ROOT / "docs" / "devices.md"
HEAD = """# What an application needs of each engine: written by scripts/engine_bytes.py, which measures it.
# bytes = libraries + python; packed = the same files deflated; wheel = all that the index has.
"""
TRACE = """
import json, os, sys
import numpy
from pathlib import Path
from edgeops.core.variant import read_variant
from edgeops.runtime.session import load_session

def seen():
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    with open("/proc/self/maps") as maps:
        files |= {(line.split(None, 5) + [""])[5].strip() for line in maps}
    return {os.path.realpath(file) for file in files if file and os.path.isfile(file)}

before = seen()
session = load_session(Path(sys.argv[1]))
feed = {
    each.name: numpy.zeros([d if isinstance(d, int) else 1 for d in each.shape], each.dtype)
    for each in session.inputs
}
session.run(feed)
print("=" + json.dumps(sorted(seen() - before)))
"""
MANYLINUX = range(40, 16, -1)


def main() -> None:
    """Measure all engines, or those that are named, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    only = [name for name in parser.parse_args().only.split(",") if name]
    rows = []
    with tempfile.TemporaryDirectory(prefix="engine-bytes-") as scratch:
        model = write_tiny_model(Path(scratch) / "model.onnx")
        for engine, about in ARM64.recipe["engines"].items():
            if not only or engine in only:
                rows += measured(engine, about["distribution"], model, Path(scratch) / engine)
    GOAL.write_text("\n".join([HEAD, *map(entry, rows)]))
    put(PAGE, "engine bytes", shown(rows))
    print(f"{len(rows)} rows in {GOAL}")


def measured(engine: str, distribution: str, model: Path, scratch: Path) -> list[dict[str, Any]]:
    """Return the rows of an engine, one an architecture."""
    scratch.mkdir()
    variant, trace = scratch / "variant", scratch / "trace.py"
    trace.write_text(TRACE)
    convert = ["convert", str(model), "--to", engine, "--input-shape", "x=1,4", "-o", str(variant)]
    subprocess.run(
        [sys.executable, "-m", "edgeops", *convert], check=True, stdout=subprocess.DEVNULL
    )
    here = Path(sysconfig.get_paths()["purelib"]).resolve()
    rows = []
    for machine, used, packages in (
        ("x86_64", used_here(trace, variant), here),
        ("aarch64", used_there(trace, variant), ARM64.executable.parents[2] / "usr"),
    ):
        wheel = downloaded(distribution, machine, scratch / machine)
        files = contents(used, packages, wheel)
        row = summed(files, wheel.stat().st_size)
        about = {"engine": engine, "distribution": distribution, "version": version(distribution)}
        rows.append({**about, "machine": machine, **row})
        print(" ".join(f"{key}={value}" for key, value in rows[-1].items()), flush=True)
    return rows


def used_here(trace: Path, variant: Path) -> list[str]:
    """Return the files of packages that the engine needs on this machine."""
    said = subprocess.run(
        [sys.executable, str(trace), str(variant)], check=True, capture_output=True, text=True
    ).stdout
    return relevant(said)


def used_there(trace: Path, variant: Path) -> list[str]:
    """Return the files of packages that the engine needs in the arm64 userland."""
    with EmulatedDevice().reach("arm64") as device:
        for source, name in ((trace, "trace.py"), (variant, "variant"), (program(), "probe.pyz")):
            device.push(source, name)
        command = f"cd {shlex.quote(device.files)} && PYTHONPATH=probe.pyz python3 trace.py variant"
        done = device.shell.run(command, timeout_s=600)
    if done.code:
        raise SystemExit(done.err.decode())
    return relevant(done.out.decode())


def relevant(said: str) -> list[str]:
    """Return paths below the folder of packages, without numpy's, edgeops's own and the model's."""
    line = next(line for line in said.splitlines() if line.startswith("="))
    found = []
    for path in json.loads(line[1:]):
        for folder in ("/site-packages/", "/dist-packages/"):
            inner = path.partition(folder)[2]
            if inner and not inner.startswith(("numpy", "edgeops", "_edgeops")):
                found.append(inner)
    return found


def downloaded(distribution: str, machine: str, folder: Path) -> Path:
    """Return the wheel of the installed version for an architecture."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in MANYLINUX]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    abis = (f"cp{python.replace('.', '')}", "abi3", "none")
    subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--dest",
                str(folder),
            ),
            *("--only-binary", ":all:", "--implementation", "cp", "--python-version", python),
            *(part for platform in platforms for part in ("--platform", platform)),
            *(part for abi in abis for part in ("--abi", abi)),
            f"{distribution}=={version(distribution)}",
        ],
        check=True,
    )
    return next(folder.glob("*.whl"))


def contents(used: list[str], packages: Path, wheel: Path) -> dict[str, bytes]:
    """Return the bytes of the used files: of the wheel, else of another package that is installed."""
    with zipfile.ZipFile(wheel) as archive:
        # What a wheel has below NAME.data/purelib is installed beside the rest.
        names = {
            name.split("lib/", 1)[-1] if ".data/" in name else name: name
            for name in archive.namelist()
        }
        found = {path: archive.read(names[path]) for path in used if path in names}
    if not any(path.endswith(".so") or ".so." in path for path in found):
        raise SystemExit(f"{wheel.name} has none of the libraries that were loaded: {used}")
    for path in set(used) - set(found):
        found[path] = next(packages.rglob(path)).read_bytes()
    return found


def summed(files: dict[str, bytes], wheel: int) -> dict[str, int]:
    """Return the sums that a row states."""
    python = sum(len(data) for path, data in files.items() if path.endswith(".py"))
    total = sum(map(len, files.values()))
    packed = sum(len(zlib.compress(data, 9)) for data in files.values())
    return {
        "bytes": total,
        "libraries": total - python,
        "python": python,
        "packed": packed,
        "wheel": wheel,
    }


def entry(row: dict[str, Any]) -> str:
    """Return a row as TOML."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in row.items()]
    return "\n".join(["[[engine]]", *lines, ""])


def shown(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table of megabytes."""
    head = ("engine", "version", "architecture", "MB", "deflated", "whole wheel")
    sizes = [[f"{row[key] / 1e6:.1f}" for key in ("bytes", "packed", "wheel")] for row in rows]
    names = [(row["engine"], row["version"], row["machine"]) for row in rows]
    return table(head, [[*name, *size] for name, size in zip(names, sizes, strict=True)])


if __name__ == "__main__":
    main()
