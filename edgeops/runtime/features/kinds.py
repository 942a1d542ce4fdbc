"""The kinds of inputs whose values are made one by one; columns are made together."""

from __future__ import annotations

from edgeops.runtime.features import image, tensor

KINDS = {"image": image.KIND, "tensor": tensor.KIND}
