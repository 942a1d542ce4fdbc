"""Which Python packages hold the engines, what pip is to be asked for, and what is wrong with one."""

from __future__ import annotations

import platform
import re

from edgeops.errors import MissingError

# By engine; the first that is installed counts, and the first is what is asked for.
PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "litert": ("ai-edge-litert", "tflite-runtime"),
    "mnn": ("MNN",),
    "ncnn": ("ncnn",),
    "openvino": ("openvino",),
}


def requirement(engine: str, version: str) -> str:
    """Return what pip takes for an engine that runs what ``version`` made: same major, not older.

    It is "" for an engine that is no package.
    """
    if engine not in PACKAGES:
        return ""
    found = re.match(r"(\d+)(\.\d+)*", version)
    bounds = f">={found[0]},<{int(found[1]) + 1}" if found else ""
    return f"{PACKAGES[engine][0]}{bounds}"


# What the loaders of Linux and macOS say of a library that was built for another processor.
_OTHER_MACHINE = re.compile(
    r"wrong ELF class|invalid ELF header|incompatible architecture|wrong architecture"
    r"|Exec format error|cannot open shared object file: No such file or directory.*ld-linux",
)


def broken(engine: str, error: Exception, version: str = "") -> MissingError:
    """Return the error for an engine that is installed and cannot be imported.

    ``version`` is the one that the model was made with, where there is a model.
    """
    why = f"{type(error).__name__}: {error}"
    made = f"; the model was made with {engine} {version}" if version else ""
    wanted = requirement(engine, version)
    again = f"pip install --force-reinstall '{wanted}'" if wanted else f"install {engine} again"
    if _OTHER_MACHINE.search(why):
        return MissingError(
            "engine-wrong-machine",
            f"the engine {engine} on the device is built for another processor",
            where=engine,
            why=f"{why} (the device is {platform.machine()}){made}",
            fix=f"{again}: the wheel that is made for {platform.machine()}",
        )
    return MissingError(
        "engine-import-failed",
        f"the engine {engine} is installed on the device and cannot be imported",
        where=engine,
        why=f"{why}{made}",
        fix=f"{again}, with the system libraries that it names",
    )
