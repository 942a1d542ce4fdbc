"""Converters that misbehave as real ones do, registered by a folder on the module path."""

from __future__ import annotations

CODE = '''
import os
import time

from edgeops.convert.engines.onnxruntime import OnnxRuntimeConverter


class _Converter(OnnxRuntimeConverter):
    def __init__(self):
        self.name = type(self).__name__.lower()

    def convert(self, model, out, options):
        self.spoil(model)
        made = super().convert(model, out, options)
        made = self.after(made, out)
        return made

    def spoil(self, model):
        pass

    def after(self, made, out):
        return __import__("dataclasses").replace(made, engine="onnxruntime")


class Crashes(_Converter):
    def spoil(self, model):
        print("last words: heap is on fire", flush=True)
        os.abort()


class Hangs(_Converter):
    def spoil(self, model):
        print("thinking", flush=True)
        time.sleep(600)


class Hungry(_Converter):
    def spoil(self, model):
        bytearray(1 << 46)


class Raises(_Converter):
    def spoil(self, model):
        raise LookupError("no such layer")


class Liar(_Converter):
    """Says success; its second layer is 200 times too large."""

    def spoil(self, model):
        import onnx

        tensor = next(t for t in model.graph.initializer if t.name == "w")
        array = onnx.numpy_helper.to_array(tensor) * 200
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, "w"))


class Empty(_Converter):
    """Says success and writes nothing that can be loaded."""

    def after(self, made, out):
        (out / "model.onnx").write_bytes(b"")
        return super().after(made, out)


class Chatty(_Converter):
    """Prints on standard output, where the answer goes."""

    def spoil(self, model):
        print("Converted Success!", flush=True)
        os.write(1, b"{}")
'''

NAMES = ("crashes", "hangs", "hungry", "raises", "liar", "empty", "chatty")


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
