"""The OpenVINO engine: sessions on the CPU from ``model.xml`` and ``model.bin``."""

from __future__ import annotations

import os
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgeops.core.variant import read_variant
from edgeops.errors import Finding, RefusedError
from edgeops.runtime.engines.quiet import hushed
from edgeops.runtime.fit import misfit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.variant import TensorInfo
# Where in its sources it stood, which helps nobody here.
_NOISE = ("Exception from ", "Check '", "FrontEnd API failed", "Model wasn't fully")


class OpenVinoSession:
    """A loaded OpenVINO model on the CPU; ``run`` may be called from several threads.

    The one infer request behind it takes one call at a time: the others wait on a lock; for work
    in parallel load one session a thread.
    """

    def __init__(
        self,
        path: Path,
        inputs: Sequence[TensorInfo],
        outputs: Sequence[TensorInfo],
        threads: int = 1,
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._where = path.name
        self._lock = threading.Lock()
        os.environ.setdefault("CI", "true")  # keeps OpenVINO's telemetry silent
        with hushed():
            import openvino
        config = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",  # or processors that have it compute in bfloat16
        }
        try:
            compiled = openvino.Core().compile_model(path, "CPU", config)
            self._request = compiled.create_infer_request()
            # An input that nothing reads is gone from the engine's model.
            read = set().union(*(port.get_names() for port in compiled.inputs))
            self._input_ports = [
                (tensor.name, _port(compiled.inputs, tensor.name))
                for tensor in self.inputs
                if tensor.name in read
            ]
            self._output_ports = [
                (tensor.name, _port(compiled.outputs, tensor.name)) for tensor in self.outputs
            ]
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            raise RefusedError(
                "engine-load-failed",
                f"OpenVINO cannot load {path.name}",
                where=str(path),
                why=reason(error),
                fix="see what it cannot take with: edgeops check MODEL --to openvino",
            ) from error

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call; arrays that are no inputs are ignored.

        Raises InputError ``input-misfit`` when a name, shape or dtype is not the model's,
        RefusedError ``engine-run-failed`` when the model fails on what fits.
        """
        wrong = misfit(arrays, self.inputs, self._where)  # OpenVINO would cast in silence
        if wrong:
            raise wrong
        feed = {port: arrays[name] for name, port in self._input_ports}
        try:
            with self._lock:
                found = self._request.infer(feed, share_inputs=True)
                return {name: found[port] for name, port in self._output_ports}
        except (RuntimeError, ValueError, TypeError) as error:
            raise RefusedError(
                "engine-run-failed",
                f"OpenVINO failed while running {self._where}",
                where=self._where,
                why=reason(error),
                fix="check that the input is what the model was made for, then the model itself",
            ) from error


class OpenVinoEngine:
    """The entry point ``openvino`` of ``edgeops.engines``."""

    name = "openvino"
    api = 1

    def available(self) -> Finding | None:
        """Return None when openvino can be imported, else how to get it."""
        if find_spec("openvino") is not None:
            return None
        return Finding(
            "engine-missing",
            "the engine openvino is not installed",
            where="openvino",
            why="the Python package openvino is not there",
            fix="pip install 'edgeops[openvino]'",
        )

    def version(self) -> str:
        """Return the version of the openvino package."""
        from importlib.metadata import version

        return version("openvino")

    def load(self, variant: Path, threads: int = 1) -> OpenVinoSession:
        """Load ``variant``'s model; names, order and dtypes come from variant.json.

        Raises RefusedError ``engine-load-failed`` with OpenVINO's own words.
        """
        about = read_variant(variant, verify=False)
        return OpenVinoSession(variant / about.model_file, about.inputs, about.outputs, threads)


def _port(ports: Sequence[Any], name: str) -> Any:
    for port in ports:
        if name in port.get_names():
            return port
    message = f"the model has no {name!r}: {[sorted(port.get_names()) for port in ports]}"
    raise KeyError(message)


def reason(error: Exception) -> str:
    """Return OpenVINO's own words without the lines that only name its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(_NOISE) and not line.endswith(":")]
    return " ".join((told or lines)[:3])[:400] or type(error).__name__
