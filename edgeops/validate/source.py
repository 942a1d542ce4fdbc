"""What the source model answers, for figures that compare a variant with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.contracts import Samples, Session
    from edgeops.core.events import Events


def source_outputs(
    source: Path, samples: Samples, evaluation: str, root: Path, events: Events
) -> dict[str, Any]:
    """Return the outputs of the source model, or of a variant folder, for as many samples."""
    from edgeops.project.datasets import samples_for
    from edgeops.runtime.batch import run_batched
    from edgeops.validate.measured import first

    events.step(f"running {source.name} for comparison")
    session = _session(source)
    own = samples_for(evaluation, root, session.inputs, labels=True)
    return run_batched(session, first(own, samples.count))


def _session(source: Path) -> Session:
    if source.is_dir():
        from edgeops.runtime.session import load_session

        return load_session(source)
    from edgeops.model.load import load_model
    from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

    loaded = load_model(source)
    return OnnxRuntimeSession(source, inputs=loaded.inputs, outputs=loaded.outputs)
