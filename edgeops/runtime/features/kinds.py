"""The kinds of inputs whose values are made one by one; columns are made together."""

from __future__ import annotations

from edgeops.runtime.features import audio, image, tensor, text

KINDS = {
    "image": image.KIND,
    "audio": audio.KIND,
    "text": text.TEXT,
    "bytes": text.BYTES,
    "tensor": tensor.KIND,
}
