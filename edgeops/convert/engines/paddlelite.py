"""Paddle Lite (.nb): neither its converter nor its runtime can be had from the package registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import Finding, MissingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.contracts import ConvertOptions
    from edgeops.core.variant import Variant


class PaddleLiteConverter:
    """The entry point ``paddle-lite`` of ``edgeops.converters``: says what is missing."""

    name = "paddle-lite"
    api = 1
    precisions = ("fp32",)
    unproven = "neither converter nor runtime of Paddle Lite can be had from the package registry"

    def available(self) -> Finding | None:
        """Return what is missing: always, for there is no package to install."""
        return Finding(
            "paddle-lite-missing",
            "Paddle Lite's converter cannot be had from the package registry",
            where=self.name,
            why="the package paddlelite was built for Python 2.7 to 3.7 only; its newest release, "
            "2.12, has no file that any Python of today loads",
            fix="convert for Paddle Inference (edgeops convert MODEL --to paddle), then make the "
            ".nb file with the opt program of Paddle Lite's own releases",
        )

    def check(self, model: Any, options: ConvertOptions) -> Sequence[Finding]:  # noqa: ARG002 - nothing can be told of a model
        """Return what ``available`` does."""
        finding = self.available()
        return [finding] if finding else []

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:
        """Raise MissingError ``paddle-lite-missing``."""
        (finding,) = self.check(model, options)
        raise MissingError(
            finding.code, finding.what, where=str(out), why=finding.why, fix=finding.fix
        )
