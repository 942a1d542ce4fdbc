"""Checksums of each target's variant: the example of docs/plugins.md, whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from edgeops.plugin import (
    Finding,
    Out,
    StageContext,
    StageInfo,
    StagePlan,
    StageResult,
    final_variant,
    reports,
    write_atomic,
)


@dataclass(frozen=True)
class ChecksumOptions:
    """How the checksums are made."""

    algorithm: str = field(default="sha256", metadata={"help": "A name that hashlib knows."})


class Checksum:
    """Writes the checksum of every file of a target's variant."""

    info = StageInfo("checksum", "Write the checksums of each variant.")
    Options = ChecksumOptions

    def plan(self, project, target, options):
        return StagePlan(
            deps=(final_variant(project, target.name),),
            outs=(Out(f"{reports(target.name)}/checksums.json"),),
            params=("stages.checksum",),
        )

    def preflight(self, root, project, target, options):
        if options.algorithm in hashlib.algorithms_available:
            return []
        return [Finding("checksum-algorithm", f"hashlib knows no {options.algorithm!r}")]

    def run(self, context: StageContext, options):
        folder = context.path(final_variant(context.project, context.target.name))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        context.events.step("adding up", total=len(files))
        sums = {}
        for path in files:
            data = path.read_bytes()
            sums[path.relative_to(folder).as_posix()] = hashlib.new(
                options.algorithm, data
            ).hexdigest()
            context.events.advance()
        out = context.path(f"{reports(context.target.name)}/checksums.json")
        write_atomic(out, json.dumps(sums, indent=2).encode())
        return StageResult({"files": float(len(sums))})
