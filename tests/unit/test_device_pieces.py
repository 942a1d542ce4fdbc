"""Parts of remote devices on their own: whose a work folder is, programs as shells, words of ssh."""

from __future__ import annotations

import asyncio
import errno
import json
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.errors import TransportError
from edgeops.validate.devices import reachable
from edgeops.validate.devices.remote import owner, process
from edgeops.validate.devices.remote.asking import Heard, ask
from edgeops.validate.devices.remote.process import Lines, run_process
from edgeops.validate.devices.remote.shell import Deadline
from edgeops.validate.devices.ssh.words import After, commanded


def test_a_folder_of_this_process_is_alive():
    name = owner.new()
    assert not owner.dead(name)
    owner.abandon(name)
    assert owner.dead(name)


def test_a_folder_of_a_process_that_ended_is_dead():
    code = "from edgeops.validate.devices.remote import owner; print(owner.new())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert owner.dead(said.stdout.strip())


def test_folders_of_other_hosts_and_other_things_are_not_judged():
    host, *rest = owner.new().split(".")
    assert not owner.dead(".".join(("0" * len(host), *rest)))
    assert not owner.dead("somebody's folder")
    assert not owner.dead("")


def test_a_process_number_that_was_given_anew_is_another_process():
    parts = owner.new().split(".")
    assert owner.dead(".".join((*parts[:3], "1", parts[4])))
    assert owner.dead(".".join((parts[0], "otherboot", *parts[2:])))


@given(st.lists(st.binary(max_size=8), max_size=8))
def test_lines_come_whole_however_they_are_cut(pieces):
    found = []
    lines = Lines(found.append)
    for piece in pieces:
        lines.feed(piece)
    lines.end()
    text = b"".join(pieces)
    whole = text.decode(errors="replace").split("\n") if text.isascii() else None
    if whole is not None:
        assert found == (whole if whole[-1] else whole[:-1])


@given(st.binary(max_size=64), st.text("ab=\n", max_size=20), st.integers(1, 7))
def test_words_before_the_mark_are_dropped(content, greeting, step):
    said = greeting.encode() + b"\n=edgeops\n" + content
    found = bytearray()
    after = After(found.extend)
    for start in range(0, len(said), step):
        after(said[start : start + step])
    assert bytes(found) == content


def test_a_command_line_reaches_sh_as_it_is():
    command = commanded("printf '%s|' \"a b\" 'c\"d' $((1 + 1)); exit 3")
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (3, b'=edgeops\na b|c"d|2|')


def sh(command, **more):
    return run_process(["/bin/sh", "-c", command], where="here", **{"timeout_s": 30, **more})


def test_a_program_answers_in_bytes_and_with_its_code():
    done = sh("cat; echo oops >&2; exit 7", stdin=bytes(range(256)) * 4096)
    assert (done.code, done.out, done.err) == (7, bytes(range(256)) * 4096, b"oops\n")


def test_a_program_that_reads_nothing_is_no_trouble():
    assert sh("exit 0", stdin=bytes(1_000_000)).code == 0


def test_lines_come_while_it_runs():
    heard = []
    done = sh("echo a; echo b; printf c", on_line=heard.append)
    assert (heard, done.out) == (["a", "b", "c"], b"")


def test_a_leash_ends_with_the_command_and_beats_before(monkeypatch):
    monkeypatch.setattr(process, "BEAT_S", 0.01)
    monkeypatch.setattr(process, "_LOOK_S", 0.02)
    done = sh("read first; read beat; echo $first-$beat-", stdin=b"one\n", leash=True)
    assert done.out == b"one--\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_of_the_listener_lets_the_leash_go(error, tmp_path):
    def fail(_line):
        raise error

    command = f"echo ready; cat; echo $? > {tmp_path}/ended"
    with pytest.raises(error):
        sh(command, on_line=fail, leash=True)
    assert (tmp_path / "ended").read_text() == "0\n"


def test_what_takes_too_long_is_ended():
    with pytest.raises(TransportError) as late:
        sh("echo $$; exec cat", timeout_s=0.3, leash=True)
    assert late.value.code == "device-timeout"


def test_what_holds_the_streams_after_the_end_is_not_waited_for():
    start = time.monotonic()
    assert sh("sleep 20 & echo started").code == 0
    assert time.monotonic() - start < 15


def test_the_clock_stands_still_while_another_measurement_is_waited_for():
    until = Deadline(5)
    told = []
    heard = Heard(until, told.append)
    heard.line('{"say": "step", "what": "waiting for another measurement to end"}')
    assert until.left() == float("inf")
    heard.line('{"say": "phase", "phase": "load"}')
    assert 0 < until.left() <= 5
    assert heard.partial == {"phase": "load"}
    assert len(told) == 2


def test_what_was_reported_counts_though_the_connection_ended_then():
    said = {
        "error": {"code": "inference-hung", "what": "w", "where": "run", "why": "", "fix": ""},
        "exit": 30,
        "partial": {"calls": 7},
    }

    class Cut:
        where = "here"

        def run(self, _command, *, on_line, **_more):
            on_line(json.dumps(said))
            raise TransportError("device-lost", "gone")

    with pytest.raises(TransportError) as told:
        ask(Cut(), "probe", {}, timeout_s=5, tell=None, python="python3")
    assert (told.value.code, told.value.result) == ("inference-hung", {"partial": {"calls": 7}})


@pytest.mark.parametrize(
    ("error", "told"),
    [(OSError(errno.ENOSPC, "full"), OSError), (ConnectionResetError(), TransportError)],
)
def test_a_disk_here_that_is_full_is_no_lost_device(error, told):
    pytest.importorskip("asyncssh", reason="asyncssh is not installed: pip install asyncssh")
    from edgeops.validate.devices.ssh.by_asyncssh import _Talk

    class Connection:
        async def create_process(self, *_words, **_options):
            raise error

    with pytest.raises(told):
        asyncio.run(_Talk(Connection(), "cat file").to_end("ssh:camera"))


def test_asking_devices_leaves_no_thread(monkeypatch):
    monkeypatch.setattr(reachable, "_said", lambda device: {"is": device})
    devices = [f"ssh:{number}" for number in range(40)]
    assert dict(reachable.ask_all(devices)) == {device: {"is": device} for device in devices}
    for thread in threading.enumerate():
        if thread.name.startswith("edgeops-probe-"):
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize("line", ["", "noise", "{", "[1]", '{"other": 1}', "{}"])
def test_lines_that_say_nothing_are_passed_over(line):
    heard = Heard(Deadline(5), None)
    heard.line(line)
    assert (heard.answer, heard.error, heard.partial) == (None, None, {})
