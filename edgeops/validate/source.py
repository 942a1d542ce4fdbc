"""What the source model answers, for figures that compare a variant with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeops.core.contracts import Samples, Session
    from edgeops.core.events import Events
    from edgeops.runtime.predictor_chain import Chain


def source_outputs(
    source: Path,
    samples: Samples,
    evaluation: str,
    root: Path,
    events: Events,
    *,
    predicting: tuple[Callable[[Session], Chain], Samples] | None = None,
    features: str = "",
) -> dict[str, Any]:
    """Return the outputs of the source model, or of a variant folder, for as many samples.

    ``features`` is the document where the data are raw. ``predicting`` makes the predictor's chain
    around the session, for outputs that rules make of raw samples.
    """
    from edgeops.project.datasets import samples_for
    from edgeops.runtime.batch import run_batched
    from edgeops.validate.measured import first

    events.step(f"running {source.name} for comparison")
    session = _session(source)
    if predicting is not None:
        from edgeops.runtime.predictor_samples import run_samples

        around, raw = predicting
        return run_samples(around(session), raw)[0]
    own = samples_for(
        evaluation,
        root,
        session.inputs,
        labels=True,
        features=features,
        take=lambda whole: first(whole, samples.count),
    )
    return run_batched(session, own)


def _session(source: Path) -> Session:
    if source.is_dir():
        from edgeops.runtime.session import load_session

        return load_session(source)
    from edgeops.model.load import load_model
    from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

    loaded = load_model(source)
    return OnnxRuntimeSession(source, inputs=loaded.inputs, outputs=loaded.outputs)
