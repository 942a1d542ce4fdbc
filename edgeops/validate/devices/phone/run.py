"""Run a benchmark tool on a device that has nothing but a shell: lock, leash, memory, power.

What the script says of itself are lines that begin with ``=``; everything else is the tool's. Its
standard input is the leash: when that ends, because whoever asked is gone, the tool is killed.
"""

from __future__ import annotations

import shlex
import signal
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeops.errors import EdgeopsError, MissingError, TransportError
from edgeops.validate.devices.remote.shell import Deadline
from edgeops.validate.devices.remote.trouble import failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.core.contracts import Tell
    from edgeops.validate.devices.phone.tools import Command
    from edgeops.validate.devices.remote.shell import Shell

_LAST_LINES = 5
_NOT_STARTED = (126, 127)
_SIGNALLED = 128
# One process watches the leash for all others of the script. A lock that a process took which is
# gone, or that was taken before the device started anew, is broken. Only one may break it at a
# time, and looks again before, so that no new lock is broken.
_BEGIN = """
cd {files} || exit 125
lock={lock}
owned() {{ b= p= s=; read -r b p s 2>/dev/null <"$lock/owner"; [ "$p" = $$ ]; }}
exec 3<&0
{{
  while read -r x <&3; do :; done
  kill -9 $$ $(cat .rows .tool)
  owned && rm -rf "$lock"
}} >/dev/null 2>&1 &
leash=$!
trap 'kill -9 $leash 2>/dev/null; owned && rm -rf "$lock"' EXIT
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
started() {{
  line=
  read -r line 2>/dev/null </proc/$1/stat
  set -- ${{line##*) }}
  echo "${{20:-}}"
}}
stale() {{
  owned
  if [ -z "$s" ]; then [ "$tries" -gt 5 ]; return; fi
  [ "$b" != "$boot" ] || [ "$(started "$p")" != "$s" ]
}}
tries=0
until mkdir "$lock" 2>/dev/null; do
  [ -d "${{lock%/*}}" ] || exit 125
  tries=$((tries + 1))
  if stale; then
    find "$lock.break" -prune -mmin +1 -exec rmdir {{}} \\; 2>/dev/null
    if mkdir "$lock.break" 2>/dev/null; then
      stale && rm -rf "$lock"
      rmdir "$lock.break"
      continue
    fi
  fi
  [ "$tries" = 1 ] && echo "=waiting"
  sleep 1
done
echo "$boot $$ $(started $$)" >"$lock/owner"
echo "=locked"
LD_LIBRARY_PATH=$PWD/tools${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
export LD_LIBRARY_PATH ORT_DISABLE_TELEMETRY=1
"""
_TIME = """
{before} || exit 124
{argv} </dev/null 2>&1 &
tool=$!
echo $tool >.tool
peak=
while [ -d /proc/$tool ]; do
  m=
  while read -r k v x; do [ "$k" = VmHWM: ] && m=$v; done 2>/dev/null </proc/$tool/status
  [ -n "$m" ] || break
  peak=$m
  {power}
  sleep 0.2 2>/dev/null || sleep 1
done
wait $tool
code=$?
rm -f .tool
echo
echo "=peak $peak"
[ -f .power ] && cat .power
[ $code = 0 ] && {{ {after}; }}
echo
echo "=ended $code"
"""
_POWER = """{ read -r a && read -r v <&4; } 2>/dev/null <BATTERY/current_now 4<BATTERY/voltage_now &&
    echo "=power $a $v" >>.power"""
_ROWS = """
row() {{
  {{ {cuts}; }} || return 123
  rm -f result
  {before} || return 124
  {argv} </dev/null >.said 2>&1 &
  echo $! >.tool
  wait $!
  code=$?
  [ $code = 0 ] || return $code
  {after}
}}
(
  : >answers
  i=0
  while [ $i -lt {count} ]; do
    row
    code=$?
    if [ $code = 0 ] && [ -f result ]; then
      cat result >>answers || exit 1
      echo "=row $(($(wc -c <result)))"
    else
      tail -n {lines} .said
      echo
      echo "=bad $code"
      [ {on} = 1 ] || exit 0
    fi
    i=$((i + 1))
  done
) &
echo $! >.rows
wait $!
code=$?
rm -f .rows .tool
echo "=ended $code"
"""


@dataclass
class Ran:
    """What a run left: the tool's words, its exit code, its most memory, what rows came out.

    ``rows`` has the size of each answer, or minus the exit code of the tool that gave none.
    ``power`` are looks at the battery: current in microamperes, voltage in microvolts.
    """

    text: str = ""
    code: int | None = None
    peak_bytes: int | None = None
    rows: list[int] = field(default_factory=list)
    power: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Where a tool runs: the shell, the working folder, the lock, and on which processors."""

    shell: Shell
    files: str
    lock: str
    affinity: Sequence[int] = ()

    def time(
        self, command: Command, *, timeout_s: float, tell: Tell | None, battery: str = ""
    ) -> Ran:
        """Run a command that times a model; ``battery`` is a folder of sensors to look at.

        Raises MissingError ``binary-failed``, TransportError ``probe-killed`` or
        ``probe-timeout``, and what the shell raises.
        """
        power = _POWER.replace("BATTERY", battery) if battery else ":"
        script = _TIME.format(
            before=command.before, argv=self._argv(command), after=command.after, power=power
        )
        heard = self._run(script, command.argv[0], timeout_s, tell)
        if heard.ran.code:
            raise ended(self.shell.where, command.argv[0], heard.ran.code, heard.last())
        return heard.ran

    def answers(
        self,
        command: Command,
        sizes: Sequence[int],
        count: int,
        *,
        timeout_s: float,
        tell: Tell | None,
        go_on: bool,
    ) -> Ran:
        """Run a command once for each sample and gather what it answers in ``answers``.

        The files ``feed0``, ``feed1``, ... hold the inputs of all samples, ``sizes`` bytes each.
        With ``go_on`` samples that fail are passed over. Raises as ``time``.
        """
        # What is not cut would leave the sample before, and its answer for this one's.
        cuts = " && ".join(
            f"rm -f in{index} && dd if=feed{index} of=in{index} bs={size} skip=$i count=1 2>.said "
            f"&& [ $(($(wc -c <in{index}))) = {size} ]"
            for index, size in enumerate(sizes)
        )
        script = _ROWS.format(
            cuts=cuts or ":",
            before=command.before,
            argv=self._argv(command),
            after=command.after,
            count=count,
            lines=_LAST_LINES,
            on=int(go_on),
        )
        heard = self._run(script, command.argv[0], timeout_s, tell)
        bad = [-size for size in heard.ran.rows if size < 0]
        if bad and not go_on:
            raise ended(self.shell.where, command.argv[0], bad[0], heard.last())
        return heard.ran

    def _argv(self, command: Command) -> str:
        mask = sum(1 << cpu for cpu in self.affinity)
        words = ("taskset", f"{mask:x}", *command.argv) if mask else command.argv
        return shlex.join(words)

    def _run(self, script: str, name: str, timeout_s: float, tell: Tell | None) -> _Heard:
        begin = _BEGIN.format(files=shlex.quote(self.files), lock=shlex.quote(self.lock))
        heard = _Heard(Deadline(timeout_s), tell)
        try:
            done = self.shell.run(
                begin + script, timeout_s=heard.deadline, on_line=heard.line, leash=True
            )
        except TransportError as error:
            if error.code != "device-timeout":
                raise
            raise TransportError(
                "probe-timeout",
                f"measuring took longer than {timeout_s:g} s and was ended",
                where=self.shell.where,
                why=heard.last() or f"{name} said nothing",
                fix="give it more time with `timeout`, or evaluate fewer samples",
            ) from error
        if done.code or heard.ran.code is None:
            raise failed(self.shell.where, self.files, done)
        heard.ran.text = "\n".join(heard.said)
        return heard


class _Heard:
    """Takes the lines of a run: the script's own, and the tool's words."""

    def __init__(self, deadline: Deadline, tell: Tell | None) -> None:
        self.deadline = deadline
        self.ran = Ran()
        self.said: deque[str] = deque(maxlen=500_000)
        self._tell = tell

    def line(self, text: str) -> None:
        """Take one line."""
        verb, _, value = text.partition(" ")
        if verb == "=waiting":
            self.deadline.pause()
            if self._tell:
                self._tell({"say": "step", "what": "waiting for the device", "total": 1})
        elif verb == "=locked":
            self.deadline.go()
        elif verb == "=peak":
            self.ran.peak_bytes = int(value) * 1024 if value.isdecimal() else None
        elif verb == "=power":
            current, _, voltage = value.partition(" ")
            self.ran.power.append((int(current), int(voltage)))
        elif verb == "=ended":
            self.ran.code = int(value)
        elif verb in {"=row", "=bad"}:
            self.ran.rows.append(int(value) if verb == "=row" else -int(value))
            if self._tell:
                self._tell({"say": "advance", "parts": 1})
        else:
            self.said.append(text)

    def last(self) -> str:
        """Return the tool's last words in one line."""
        lines = [line.strip() for line in self.said if line.strip()]
        return " | ".join(lines[-_LAST_LINES:])


def ended(where: str, program: str, code: int, words: str) -> EdgeopsError:
    """Return the error for a tool that ended with an exit code other than 0."""
    name = program.rpartition("/")[2]
    if code > _SIGNALLED:
        number = code - _SIGNALLED
        known = number in {item.value for item in signal.Signals}
        sign = signal.Signals(number).name if known else f"signal {number}"
        why = f"it was ended by {sign}"
        if number == signal.SIGKILL:
            why += ", as the system does when memory runs out"
        return TransportError(
            "probe-killed",
            f"{name} was killed before it could answer",
            where=where,
            why="; ".join(filter(None, (why, words))),
            fix="free some memory on the device, or see whether the tool is built for it",
        )
    fix = "run it there by hand and see what it needs; libraries (*.so) that lie beside it are sent"
    if code in _NOT_STARTED:
        fix = "build the tool for the device's system and processor, with the libraries it needs"
    return MissingError(
        "binary-failed",
        f"{name} failed on the device",
        where=where,
        why=words or f"it ended with exit code {code} and without a word",
        fix=fix,
    )
