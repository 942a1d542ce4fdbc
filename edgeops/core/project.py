"""The values that edgeops.yaml becomes, and where the files of a project lie.

``edgeops.project`` reads the file into these; stages and plans see nothing else of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE = "edgeops.yaml"
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Target:
    """Engine, device, precision and threads under a name; ``gates`` add to or replace the stage's.

    ``affinity`` are the processors of the device that it is measured on, counted from 0; none = any.
    ``binary`` is the engine's benchmark tool for a device without Python, relative to the project.
    """

    name: str
    engine: str = "onnxruntime"
    device: str = "local"
    precision: str = "fp32"
    threads: int = 1
    gates: Mapping[str, str] = field(default_factory=dict)
    affinity: Sequence[int] = field(default_factory=list)
    binary: str = ""


@dataclass(frozen=True)
class Data:
    """The data sets of a project, as paths relative to its folder or ``module:function``.

    ``features`` is the document that makes of them what the model takes; without it they hold that.
    """

    calibration: str | None = None
    evaluation: str | None = None
    features: str | None = None


@dataclass(frozen=True)
class StageSpec:
    """One entry of ``stages:``: its name, the plugin it uses, its validated options.

    ``options`` is an instance of the plugin's ``Options`` dataclass; ``given`` are the keys that
    edgeops.yaml states, which are what DVC can track.
    """

    name: str
    uses: str
    options: Any
    given: tuple[str, ...] = ()


@dataclass(frozen=True)
class Project:
    """A whole edgeops.yaml; ``stages`` keeps the order of the file."""

    name: str
    version: str
    model: str
    data: Data
    targets: Mapping[str, Target]
    stages: Mapping[str, StageSpec]
    given: tuple[str, ...] = ()

    def stage_using(self, plugin: str) -> StageSpec | None:
        """Return the first stage that uses ``plugin``, or None."""
        return next((spec for spec in self.stages.values() if spec.uses == plugin), None)


def converted(target: str) -> str:
    """Return the variant folder that convert makes for a target."""
    return f"build/{target}/converted"


def quantized(target: str) -> str:
    """Return the variant folder that quantize makes for a target."""
    return f"build/{target}/quantized"


def final_variant(project: Project, target: str) -> str:
    """Return the variant folder that is measured, packed and shipped for a target."""
    return quantized(target) if project.stage_using("quantize") else converted(target)


def reports(target: str) -> str:
    """Return the folder of what validate measured for a target."""
    return f"reports/{target}"


def evidence_file(target: str) -> str:
    """Return the evidence that validate writes for a target."""
    return f"{reports(target)}/evidence.json"


def bundle_file(project: Project) -> str:
    """Return the bundle that pack writes."""
    return f"dist/{project.name}-{project.version}.edgeops"
