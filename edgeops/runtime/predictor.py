"""The predictor: what an application on a device calls.

Example::

    from pathlib import Path

    from edgeops.runtime import Predictor

    predictor = Predictor("/opt/model/current")
    answer = predictor.predict({"photo": Path("door.jpg")})

Rules:

* Every file is checked against its digest before the engine sees it.
* With features in the bundle, ``predict`` takes raw inputs by the names of these: one sample a call.
* Without, it takes the model's arrays: names, order and layout of inputs and outputs are those of
  the source model. An array is cast only where no value can be lost (``numpy.can_cast(..., "safe")``:
  uint8 to float32, int32 to int64, float32 to float64). Plain Python numbers and lists have no
  dtype of their own and take that of the input, but a fraction is never cut to an integer. Nothing
  is reshaped.
* With rules in the bundle, the answer is what they say; without, the outputs by name.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.manifest import FILE, parse_manifest
from edgeops.core.variant import FILE as VARIANT
from edgeops.core.variant import read_variant
from edgeops.errors import InputError
from edgeops.runtime.predictor_chain import Chain
from edgeops.runtime.predictor_files import choose, read_document, read_labels, verify
from edgeops.runtime.session import load_session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from edgeops.core.contracts import Session
    from edgeops.core.manifest import Manifest
    from edgeops.core.variant import TensorInfo
    from edgeops.runtime.features import Features
    from edgeops.runtime.rules import Rules


class Predictor:
    """A loaded model that answers :meth:`predict`.

    ``path`` is a variant folder, what ``edgeops unpack`` leaves, or the agent's ``HOME/current``;
    ``target`` is needed where an unpacked bundle holds several; ``key`` is the device's key where
    the bundle has sealed files. Raises InputError ``nothing-to-load``, ``target-unknown``,
    ``target-needed``, ``features-model``, ``features-malformed`` or ``rules-malformed``, TrustError
    ``digest-mismatch`` or ``bundle-malformed``, MissingError ``cel-missing`` and what
    :func:`edgeops.runtime.session.load_session` raises.

    ``inputs`` describe what ``predict`` takes and ``outputs`` the model's tensors; ``features`` and
    ``rules`` are None where the bundle has none; ``labels`` are the lines of its labels, empty where
    it has none; ``digest`` is that of the bundle or, for a lone variant, of the variant; ``version``
    is the bundle's, or None.
    """

    def __init__(
        self,
        path: str | Path,
        target: str | None = None,
        threads: int = 1,
        *,
        key: Path | None = None,
    ) -> None:
        folder = Path(path).resolve()
        self.target = target
        self.version: str | None = None
        if (folder / FILE).is_file():
            chain = self._from_bundle(folder, target, threads, key)
        elif (folder / VARIANT).is_file():
            self.digest = read_variant(folder, verify=False).digest
            chain = Chain(load_session(folder, threads))
        else:
            raise InputError(
                "nothing-to-load",
                f"{path} holds neither a variant nor an unpacked bundle",
                where=str(path),
                why=f"it has no {VARIANT} and no {FILE}",
                fix="name the folder that edgeops convert or edgeops unpack -o wrote",
            )
        self._chain = chain
        self.session: Session = chain.session
        self.features: Features | None = chain.features
        self.rules: Rules | None = chain.rules
        self.labels: tuple[str, ...] = chain.labels
        self.inputs: tuple[Any, ...] = chain.inputs
        self.outputs: tuple[TensorInfo, ...] = chain.session.outputs
        self._predict = chain.predict

    def predict(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to one call: see :attr:`inputs` for what it takes.

        Raises InputError ``feature-input`` where there are features, else ``input-missing``,
        ``input-name-unknown``, ``input-shape`` or ``input-dtype``, each before the engine is called;
        ``rules-batch`` for several samples where there are rules; RefusedError ``rules-failed``.
        """
        return self._predict(inputs)

    def close(self) -> None:
        """Let go of the models; the predictor answers no more. Closing it again does nothing."""
        if self._predict is _closed:
            return
        self._predict = _closed
        for session in (self.session, *self._chain.models.values()):
            close = getattr(session, "close", None)
            if close is not None:
                close()
        del self._chain, self.session

    def __enter__(self) -> Self:
        """Return the predictor, which the end of the block closes."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the predictor."""
        self.close()

    def _from_bundle(
        self, folder: Path, target: str | None, threads: int, key: Path | None
    ) -> Chain:
        manifest = parse_manifest((folder / FILE).read_bytes(), str(folder / FILE))
        self.target = choose(folder, manifest, target)
        self.digest = manifest.descriptor.digest
        self.version = manifest.version
        verify(folder, manifest.of(kind="variant", target=self.target))
        # Engines have read or mapped their files when the block ends.
        with ExitStack() as stack:
            opened = folder
            if any(layer.seal for layer in manifest.layers):
                from edgeops.runtime.sealed import unsealed_folder

                opened = stack.enter_context(unsealed_folder(folder, manifest, key))
            session = load_session(opened / "variants" / self.target, threads)
            features = _features(folder, opened, manifest)
            rules = _rules(folder, opened, manifest)
            labels = read_labels(folder, opened, manifest)
            models = {}
            for name, model in rules.models.items() if rules else ():
                there = choose(folder, manifest, model.target)
                verify(folder, manifest.of(kind="variant", target=there))
                models[name] = load_session(opened / "variants" / there, threads)
        return Chain(session, features, rules, labels, models)


def _features(folder: Path, opened: Path, manifest: Manifest) -> Features | None:
    document = read_document(folder, opened, manifest, "features")
    if document is None:
        return None
    from edgeops.runtime.features import parse

    return parse(document, "features.json")


def _rules(folder: Path, opened: Path, manifest: Manifest) -> Rules | None:
    document = read_document(folder, opened, manifest, "rules")
    if document is None:
        return None
    from edgeops.runtime.rules import parse

    return parse(document, "rules.json")


def _closed(inputs: Mapping[str, Any]) -> dict[str, Any]:
    message = f"the predictor is closed, and was asked for {', '.join(inputs)}"
    raise RuntimeError(message)
