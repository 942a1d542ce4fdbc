"""The predictor's chain in the measuring program: the documents that a request names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeops.core.contracts import Session
    from edgeops.runtime.predictor_chain import Chain


def chained(
    request: Mapping[str, Any], session: Session, load: Callable[[Path, int], Session]
) -> Chain | None:
    """Return the session with the features and rules of a request, None where it names none.

    ``load(variant, threads)`` loads the further models that rules ask. Raises what documents and
    models raise that do not fit.
    """
    features, rules = _read(request.get("features")), _read(request.get("rules"))
    if features is None and rules is None:
        return None
    from edgeops.runtime.features import parse as parse_features
    from edgeops.runtime.predictor_chain import Chain
    from edgeops.runtime.rules import parse as parse_rules

    threads = int(request["threads"])
    models = {name: load(Path(at), threads) for name, at in (request.get("models") or {}).items()}
    return Chain(
        session,
        None if features is None else parse_features(features, "features.json"),
        None if rules is None else parse_rules(rules, "rules.json"),
        request.get("labels") or (),
        models,
    )


def _read(name: Any) -> Any:
    return json.loads(Path(name).read_bytes()) if name else None
