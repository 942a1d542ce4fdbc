"""Environments for tests: a tiny package on disk, a plugin that declares an environment of it."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import zipfile
from typing import TYPE_CHECKING

from edgeops.core import registry
from edgeops.core.environment import FORMAT, MARKER, Environment

if TYPE_CHECKING:
    from pathlib import Path

WORKER = """
import os
import sys
import time


def check(**what):
    import tinypkg

    return {"tiny": tinypkg.ANSWER, **what}


def convert(do, **arguments):
    return globals()["_" + do](**arguments)


def _echo(**arguments):
    return arguments


def _about():
    return {
        "home": os.environ["HOME"],
        "cwd": os.getcwd(),
        "pid": os.getpid(),
        "variables": sorted(os.environ),
        "edgeops": any("edgeops" in name for name in sys.modules),
    }


def _noisy():
    print("from Python")
    os.write(1, b"from C\\n")
    return {"read": sys.stdin.read()}


def _fail():
    print("counting 1\\rcounting 2", file=sys.stderr)
    print("\\x1b[31mlayer 7 is too wide\\x1b[0m", file=sys.stderr, flush=True)
    raise LookupError("no such layer")


def _leave():
    sys.exit(3)


def _abort():
    print("heap is on fire", file=sys.stderr, flush=True)
    os.abort()


def _hang():
    print("thinking", file=sys.stderr, flush=True)
    time.sleep(600)


def _unspeakable():
    return {1, 2}


def load(model, threads, factor=1):
    if not model.endswith(".tiny"):
        raise ValueError("this is no tiny model")
    globals()["FACTOR"] = factor


def run(given, answer):
    import numpy as np

    with np.load(given) as arrays:
        first, second = arrays["0"], arrays["1"]
    if first.size == 3:
        raise ValueError("three is too many")
    np.savez(answer, **{"0": first * FACTOR + second, "1": (first > 0).astype("int64")})
"""

PLUGIN = """
from pathlib import Path

from edgeops.core.environment import Environment
from edgeops.convert.engines.onnxruntime import OnnxRuntimeConverter

HERE = Path(__file__).parent


class Tiny(OnnxRuntimeConverter):
    name = "tiny"
    environment = Environment(
        "tiny",
        {python!r},
        HERE / "lock.txt",
        HERE / "worker.py",
        "a tiny package for the tests",
        {megabytes},
        {imports!r},
    )
"""


def current_python() -> str:
    """Return the version of this Python as environments state it."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def write_wheel(folder: Path, version: str = "1.0", body: str = "ANSWER = 42\n") -> str:
    """Write the wheel of a package ``tinypkg`` and return the line of a lock that names it."""
    path = folder / f"tinypkg-{version}-py3-none-any.whl"
    about = f"tinypkg-{version}.dist-info"
    files = {
        "tinypkg.py": body,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: tinypkg\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{name},sha256={_digest(text)},{len(text.encode())}" for name, text in files.items()]
    files[f"{about}/RECORD"] = "\n".join([*rows, f"{about}/RECORD,,", ""])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"tinypkg=={version} --hash=sha256:{digest}\n"


def install_plugin(
    folder: Path, lock: str, *, python: str = "", megabytes: int = 1, imports: tuple = ("tinypkg",)
) -> Path:
    """Write a package that registers the converter ``tiny`` with an environment of its own."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny_plugin.py").write_text(
        PLUGIN.format(python=python or current_python(), megabytes=megabytes, imports=imports)
    )
    (folder / "worker.py").write_text(WORKER)
    (folder / "lock.txt").write_text(lock)
    about = folder / "tiny_plugin-1.0.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-plugin\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[edgeops.converters]\ntiny = tiny_plugin:Tiny\n")
    return folder


def forget_plugins() -> None:
    """Let the registry look again at what is installed."""
    sys.modules.pop("tiny_plugin", None)
    for function in (registry.registered, registry._entries, registry._found, registry._load):
        function.cache_clear()


def standing(folder: Path, *, executable: str = "") -> Environment:
    """Return an environment that is ready without being made: its Python is this one, or a script.

    ``EDGEOPS_ENVS`` must be set to a folder of the test's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lock.txt").write_text("")
    (folder / "worker.py").write_text(WORKER)
    environment = Environment(
        "standing", current_python(), folder / "lock.txt", folder / "worker.py", "tests"
    )
    environment.executable.parent.mkdir(parents=True)
    script = executable or f'exec "{sys.executable}" "$@"'
    environment.executable.write_text(f"#!/bin/sh\n{script}\n")
    environment.executable.chmod(0o755)
    (environment.folder / MARKER).write_text(json.dumps({"format": FORMAT, "bytes": 1}))
    return environment


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
