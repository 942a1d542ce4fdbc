"""Which Python packages hold the engines, and what pip is to be asked for."""

from __future__ import annotations

import re

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
