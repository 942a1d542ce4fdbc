"""Converters that misbehave as real ones do, registered by a folder on the module path."""

from __future__ import annotations

CODE = '''
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

from edgeops.convert.engines.onnxruntime import OnnxRuntimeConverter


class _Converter(OnnxRuntimeConverter):
    def __init__(self):
        self.name = type(self).__name__.lower()
        self.engine = "onnxruntime"

    def check(self, model, options):
        return []

    def convert(self, model, out, options):
        self.spoil(model, out)
        return self.after(super().convert(model, out, options), out)

    def spoil(self, model, out):
        pass

    def after(self, made, out):
        return replace(made, engine="onnxruntime")


class Crashes(_Converter):
    def spoil(self, model, out):
        print("last words: heap is on fire", flush=True)
        os.abort()


class Segfaults(_Converter):
    def spoil(self, model, out):
        os.kill(os.getpid(), signal.SIGSEGV)


class Quits(_Converter):
    """Ends the process as if all were well, without having done anything."""

    def spoil(self, model, out):
        print("Converted Success!", flush=True)
        os._exit(0)


class Hangs(_Converter):
    def spoil(self, model, out):
        print("thinking", flush=True)
        time.sleep(600)


class Hungry(_Converter):
    def spoil(self, model, out):
        bytearray(1 << 46)


class Raises(_Converter):
    def spoil(self, model, out):
        raise LookupError("no such layer")


class Liar(_Converter):
    """Says success; its second layer is 200 times too large."""

    def spoil(self, model, out):
        import onnx

        tensor = next(t for t in model.graph.initializer if t.name == "w")
        array = onnx.numpy_helper.to_array(tensor) * 200
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, "w"))


class Tapless(Liar):
    """Lies only while the graph ends where it should, as one that fuses nodes might."""

    def spoil(self, model, out):
        if len(model.graph.output) == 1:
            super().spoil(model, out)


class Empty(_Converter):
    """Says success and writes a file without content."""

    def after(self, made, out):
        (out / "model.onnx").write_bytes(b"")
        return super().after(made, out)


class Nothing(_Converter):
    """Says success and writes no file."""

    def after(self, made, out):
        (out / "model.onnx").unlink()
        return super().after(made, out)


class Noise(_Converter):
    """Says success and writes what cannot be loaded."""

    def after(self, made, out):
        (out / "model.onnx").write_bytes(b"no model at all" * 50)
        print("everything went well", flush=True)
        return super().after(made, out)


class Speechless(_Converter):
    def after(self, made, out):
        return None


class Renames(_Converter):
    """Says success and describes other inputs than the source has."""

    def after(self, made, out):
        inputs = tuple(replace(t, name="input_0") for t in made.inputs)
        return replace(super().after(made, out), inputs=inputs)


class Links(_Converter):
    def after(self, made, out):
        (out / "weights.bin").symlink_to("/etc/hostname")
        return super().after(made, out)


class Strays(_Converter):
    """Writes beside its folder and dies of being refused."""

    def spoil(self, model, out):
        print("saving my log", flush=True)
        (out.parent / "converter.log").write_text("hello")


class Sneaks(_Converter):
    """Writes beside its folder and hides that it was refused."""

    def spoil(self, model, out):
        try:
            (out.parent / "converter.log").write_text("hello")
        except OSError:
            pass


class Shells(_Converter):
    """Has a program of its own write beside its folder."""

    def spoil(self, model, out):
        subprocess.run(["sh", "-c", f"echo hello > {out.parent}/converter.log"], check=True)


class Overwrites(_Converter):
    """Changes the model that it was given."""

    def spoil(self, model, out):
        (out.parent / "m.onnx").open("ab").write(b"x")


class Wipes(_Converter):
    def spoil(self, model, out):
        (out.parent / "m.onnx").unlink()


class Scratches(_Converter):
    """Writes where it may: into its working directory, home and temporary folder."""

    def spoil(self, model, out):
        import tempfile

        Path("notes.txt").write_text("x")
        (Path.home() / ".config").mkdir()
        Path(tempfile.mkdtemp(), "y").write_text("y")
        Path("notes.txt").rename("more.txt")


class Phones(_Converter):
    """Cannot do without a file that it downloads."""

    def spoil(self, model, out):
        urllib.request.urlopen("https://models.example.org/calibration.npy", timeout=5)


class Asks(_Converter):
    """Would like to send usage data; goes on without."""

    def spoil(self, model, out):
        try:
            socket.create_connection(("telemetry.example.org", 443), timeout=5)
        except OSError:
            pass


class Natively(_Converter):
    """Asks from a program that is not Python, by address, and dies of something else."""

    def spoil(self, model, out):
        subprocess.run(["bash", "-c", "echo > /dev/tcp/192.0.2.1/80"], check=False)
        raise LookupError("no such layer")


class Datagrams(_Converter):
    def spoil(self, model, out):
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                socket.socket(family, socket.SOCK_DGRAM)
            except OSError as error:
                print(error.errno, flush=True)
        raise LookupError("no such layer")


class Leaves(_Converter):
    """Starts processes that outlive it, one of them in a session of its own."""

    def spoil(self, model, out):
        code = "import os, time; open(os.environ['MARK'] + {0!r}, 'w').write(str(os.getpid()));"
        code += " time.sleep(600)"
        for name, session in (("a", False), ("b", True)):
            environ = {**os.environ, "MARK": str(out / "pid_")}
            subprocess.Popen(
                [sys.executable, "-c", code.format(name)], env=environ, start_new_session=session
            )
        while not all((out / f"pid_{n}").is_file() and (out / f"pid_{n}").stat().st_size for n in "ab"):
            time.sleep(0.02)
        print("left", *((out / f"pid_{n}").read_text() for n in "ab"), flush=True)


class Drags(Leaves):
    """As above, and hangs."""

    def spoil(self, model, out):
        super().spoil(model, out)
        time.sleep(600)


class Chatty(_Converter):
    """Prints on standard output, where answers go elsewhere."""

    def spoil(self, model, out):
        print("Converted Success!", flush=True)
        os.write(1, b"{}")


class Floods(_Converter):
    """Prints megabytes, then dies."""

    def spoil(self, model, out):
        for _ in range(20):
            os.write(2, b"layer 17: fusing, please wait\\n" * 40000)
        print("that was too much", flush=True)
        os.abort()


class Closes(_Converter):
    """Closes standard output and error."""

    def spoil(self, model, out):
        os.close(1)
        os.close(2)


class Deafens(_Converter):
    """Closes every handle there is, also those that are not its own."""

    def spoil(self, model, out):
        os.closerange(0, 256)


class Dumps(_Converter):
    """Dies where a core dump would be written."""

    def spoil(self, model, out):
        import resource

        print("core", resource.getrlimit(resource.RLIMIT_CORE), flush=True)
        os.abort()


class Unrunnable(_Converter):
    """Makes files for a chip that nothing here can run."""

    unproven = "its runtime exists for that chip only"


class Detour(_Converter):
    """A second way to the same engine."""
'''

NAMES = tuple(
    line.removeprefix("class ").partition("(")[0].lower()
    for line in CODE.splitlines()
    if line.startswith("class ") and not line.startswith("class _")
)


def install(folder):
    """Write the module and the entry points that register its converters."""
    (folder / "badly_behaved.py").write_text(CODE)
    about = folder / "badly_behaved-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: badly-behaved\nVersion: 1.0\n")
    lines = [f"{name} = badly_behaved:{name.capitalize()}" for name in NAMES]
    text = "[edgeops.converters]\n" + "\n".join(lines) + "\n"
    (about / "entry_points.txt").write_text(text)
    return folder
