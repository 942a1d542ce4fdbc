"""A device without Python: the engine's own benchmark tool measures there, in place of the probe.

Files and work folders are those of any device that is elsewhere. What the tool says becomes the
answer that the measuring program would give; where it can be given inputs, it is run once for each
sample and its outputs are brought here.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import sha256_file
from edgeops.core.variant import read_variant
from edgeops.errors import MissingError, RefusedError
from edgeops.runtime.probe import FORMAT
from edgeops.runtime.probe.arrays import read_samples, write_outputs
from edgeops.validate.devices.phone import answer as phone_answer
from edgeops.validate.devices.phone import facts as phone_facts
from edgeops.validate.devices.phone.machine_code import misfit
from edgeops.validate.devices.phone.run import Place
from edgeops.validate.devices.phone.tools import INPUT, Plan, tool_for
from edgeops.validate.devices.remote.trouble import failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeops.core.contracts import Samples, Tell
    from edgeops.core.variant import Variant
    from edgeops.validate.devices.phone.run import Ran
    from edgeops.validate.devices.phone.tools import Timed, Tool
    from edgeops.validate.devices.remote.device import RemoteDevice

_FACTS_S = 60.0
_TOOLS = "tools"
_ANSWERS = "answers"
# A tool that counts calls is first asked for a few, to know how many fill the time.
_FIRST_LOOPS = 5
_MOST_LOOPS = 200_000
_MLPERF = {"least": 1024, "seconds": 60.0}
_DIGITS = 12


class Phone:
    """A reached device that is measured by a benchmark tool, or not at all without one."""

    api = 1
    emulated = False

    def __init__(self, device: RemoteDevice, binary: Path | None, scratch: Path) -> None:
        self.name = device.name
        self.shell = device.shell
        self._device = device
        self._binary = binary
        self._scratch = scratch
        self._here: dict[str, Path] = {}
        self._facts: dict[str, Any] = {}

    def reach(self, address: str) -> Any:
        """Refuse: this one is reached already."""
        return self._device.reach(address)

    def probe(self) -> dict[str, Any]:
        """Return what the device is, as far as its shell tells."""
        if not self._facts:
            script = phone_facts.SCRIPT.replace("HOME", shlex.quote(self._device.home))
            done = self.shell.run(script, timeout_s=_FACTS_S)
            if done.code:
                raise failed(self.shell.where, self._device.home, done)
            self._facts = phone_facts.about(done.out.decode(errors="replace"))
        return {**self._facts, "name": self.name, "where": self.shell.where}

    def _fresh(self) -> dict[str, Any]:
        """Return what the device is now: how hot, how fast."""
        self._facts = {}
        return self.probe()

    def push(self, source: Path, destination: str) -> None:
        """Copy a file or folder onto the device; samples stay here, for no tool reads ``.npz``."""
        if source.suffix == ".npz":
            copy = self._scratch / f"{len(self._here)}.npz"
            shutil.copyfile(source, copy)
            self._here[destination] = copy
            return
        self._here[destination] = source.absolute()
        self._device.push(source, destination)

    def pull(self, source: str, destination: Path) -> None:
        """Copy a file or folder from the device, or what its outputs were made into here."""
        kept = self._here.get(source)
        if kept is not None and kept.suffix == ".npz":
            shutil.copyfile(kept, destination)
            return
        self._device.pull(source, destination)

    def run(
        self, request: Mapping[str, Any], *, timeout_s: float, tell: Tell | None = None
    ) -> dict[str, Any]:
        """Have the tool answer a request of the measuring program.

        ``measure`` and ``replay`` answer what the tool says, with the reason for the rest in
        ``absent``. Raises MissingError ``device-no-tool`` without a tool, RefusedError
        ``binary-pairs`` for ``pair``; MissingError ``binary-architecture``, ``binary-failed`` or
        ``binary-unread``, InputError ``binary-unknown`` or ``binary-engine``; TransportError
        ``probe-killed``, ``probe-timeout`` or ``device-lost``.
        """
        kind = request.get("do") or ("pair" if request.get("against") else "measure")
        if kind == "about":
            return self.probe()
        if kind == "pair":
            raise RefusedError(
                "binary-pairs",
                "a benchmark tool cannot compare two variants in interleaved pairs",
                where=self.shell.where,
                why="it times one model, in a process of its own",
                fix="gate on latency_p50_ms or latency_mean_ms, or install Python on the device",
            )
        job = self._job(request)
        if kind == "replay":
            return self._outputs(job, request, {}, timeout_s=timeout_s, tell=tell, go_on=True)
        answer = {"format": FORMAT, "tool": job.tool.name}
        if any(request.get(name) for name in ("seconds", "preset", "sustained_s")):
            answer = self._timed(job, request, timeout_s=timeout_s, tell=tell)
        if request.get("data"):
            answer = self._outputs(
                job, request, answer, timeout_s=timeout_s, tell=tell, go_on=False
            )
        return answer

    def _job(self, request: Mapping[str, Any]) -> _Job:
        """Look at the variant, send the tool, and lay the inputs of one call."""
        if self._binary is None:
            raise MissingError(
                "device-no-tool",
                f"{self.shell.where} has no Python, and no benchmark tool is named",
                where=self.shell.where,
                why="there is no python3 in its shell",
                fix="name the engine's tool: `binary: path/to/benchmark_model` under the target",
            )
        folder = self._here[str(request["variant"])]
        variant = read_variant(folder)
        tool = tool_for(self._binary, variant, folder / variant.model_file)
        wrong = misfit(self._binary, self.probe())
        if wrong is not None:
            raise wrong
        self._sent_tool(self._binary)
        samples = self._samples(request["few"])
        feed = _first_feed(samples, variant)
        plan = Plan(
            binary=f"{_TOOLS}/{self._binary.name}",
            model=f"{request['variant']}/{variant.model_file}",
            variant=variant,
            shapes={name: tuple(array.shape) for name, array in feed.items()},
            threads=int(request["threads"]),
            **_length(request),
        )
        place = Place(
            self.shell,
            self._device.files,
            f"{self._device.home}/lock",
            tuple(request.get("affinity") or ()),
        )
        if not tool.no_outputs:
            for index, data in enumerate(tool.encode(feed)):
                self._send(data, INPUT.format(index))
        return _Job(tool, plan, place)

    def _timed(
        self, job: _Job, request: Mapping[str, Any], *, timeout_s: float, tell: Tell | None
    ) -> dict[str, Any]:
        plan, tool = job.plan, job.tool
        if tool.loops:
            few = replace(plan, loops=_FIRST_LOOPS)
            known, _ = self._one(job, few, timeout_s=timeout_s, tell=tell)
            loops = int(plan.seconds * 1000 / (known.mean_ms or known.p50_ms or 1))
            plan = replace(plan, loops=min(max(loops, plan.least), _MOST_LOOPS))
        before = self._fresh()
        timed, ran = self._one(job, plan, timeout_s=timeout_s, tell=tell)
        answer = phone_answer.answer(tool.name, timed, ran.peak_bytes)
        if request.get("sustained_s"):
            answer["absent"]["sustained"] = f"{tool.name} does not tell how its times drift"
        return {
            "format": FORMAT,
            "tool": tool.name,
            "engine_version": self._version(),
            **answer,
            "energy": phone_answer.energy(before["energy"], ran.power, timed),
            "noise": phone_answer.noise(before, self._fresh()),
        }

    def _one(
        self, job: _Job, plan: Plan, *, timeout_s: float, tell: Tell | None
    ) -> tuple[Timed, Ran]:
        energy = self.probe()["energy"]
        battery = energy["folder"] if "source" in energy else ""
        ran = job.place.time(job.tool.timing(plan), timeout_s=timeout_s, tell=tell, battery=battery)
        try:
            return job.tool.parse(ran.text), ran
        except ValueError as error:
            lines = [line.strip() for line in ran.text.splitlines() if line.strip()]
            raise MissingError(
                "binary-unread",
                f"what {job.tool.name} printed cannot be read",
                where=self.shell.where,
                why=f"{error}; its last words: {' | '.join(lines[-3:])[:500]}",
                fix="take a version of the tool that edgeops knows (docs/devices.md), or mend the "
                "model that it does not run",
            ) from error

    def _outputs(
        self,
        job: _Job,
        request: Mapping[str, Any],
        answer: dict[str, Any],
        *,
        timeout_s: float,
        tell: Tell | None,
        go_on: bool,
    ) -> dict[str, Any]:
        """Add the outputs of all samples to an answer, or the reason why there are none."""
        from edgeops.validate.devices.phone.rows import evaluate

        if job.tool.no_outputs:
            if "latency" not in answer:
                raise self._no_outputs(job.tool)
            answer["absent"] = {**answer.get("absent", {}), "outputs": job.tool.no_outputs}
            return answer
        samples = self._samples(request["data"])
        if tell:
            tell({"say": "step", "what": "evaluating samples", "total": samples.count})

        def ask(files: list[bytes], sizes: list[int], count: int) -> tuple[list[int], bytes]:
            for index, data in enumerate(files):
                self._send(data, f"feed{index}")
            command = job.tool.answering(job.plan)
            ran = job.place.answers(
                command, sizes, count, timeout_s=timeout_s, tell=tell, go_on=go_on
            )
            self._device.pull(_ANSWERS, self._scratch / _ANSWERS)
            return ran.rows, (self._scratch / _ANSWERS).read_bytes()

        found = evaluate(job.tool, job.plan.variant, samples, ask, self.shell.where)
        path = self._scratch / f"outputs{len(self._here)}.npz"
        about = write_outputs(path, found.outputs)
        self._here[str(request["out"])] = path
        rows = {"rows": found.rows} if go_on else {}
        errors = {"errors": found.errors, "format": FORMAT} if go_on else {}
        version = {"engine_version": self._version()}
        return {**version, **answer, "outputs": {**about, **rows}, **errors}

    def _no_outputs(self, tool: Tool) -> RefusedError:
        """Return the error for a tool that gives no outputs where they are all that is wanted."""
        return RefusedError(
            "binary-no-outputs",
            f"{tool.name} cannot run samples",
            where=self.shell.where,
            why=tool.no_outputs,
            fix="name a tool that gives outputs, or replay on a device with Python",
        )

    def _samples(self, about: Mapping[str, Any]) -> Samples:
        return read_samples({**about, "file": str(self._here[str(about["file"])])})

    def _sent_tool(self, binary: Path) -> None:
        """Send the tool and the libraries that lie beside it."""
        if _TOOLS in self._here:
            return
        folder = self._scratch / _TOOLS
        folder.mkdir()
        for path in (binary, *sorted(binary.parent.glob("*.so*"))):
            if path.is_file():
                (folder / path.name).symlink_to(path.absolute())
        self._device.push(folder, _TOOLS)
        self._here[_TOOLS] = folder
        there = f"{self._device.files}/{_TOOLS}/{binary.name}"
        done = self.shell.run(f"chmod 500 {shlex.quote(there)}", timeout_s=_FACTS_S)
        if done.code:
            raise failed(self.shell.where, there, done)

    def _send(self, data: bytes, name: str) -> None:
        path = self._scratch / name
        path.write_bytes(data)
        self._device.push(path, name)

    def _version(self) -> str:
        """Return what the engine is told by: the tool's own bytes, for it names no version."""
        if self._binary is None:
            return ""
        return f"{self._binary.name} sha256:{sha256_file(self._binary)[:_DIGITS]}"


class _Job:
    """A tool with its plan and the place where it runs."""

    def __init__(self, tool: Tool, plan: Plan, place: Place) -> None:
        self.tool, self.plan, self.place = tool, plan, place


@contextmanager
def phone(device: RemoteDevice, binary: Path | None) -> Iterator[Phone]:
    """Yield a reached device as a phone, with a folder here that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="edgeops-phone-") as scratch:
        yield Phone(device, binary, Path(scratch))


def _first_feed(samples: Samples, variant: Variant) -> dict[str, Any]:
    from edgeops.runtime.batch import feeds

    return next(feed for feed, _ in islice(feeds(samples, variant.inputs, 1), 1))


def _length(request: Mapping[str, Any]) -> dict[str, Any]:
    seconds, least = float(request.get("seconds") or 1.0), int(request.get("least") or 10)
    if request.get("preset") == "mlperf":
        seconds, least = max(seconds, _MLPERF["seconds"]), max(least, int(_MLPERF["least"]))
    return {"seconds": seconds, "least": least}
