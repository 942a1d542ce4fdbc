"""edgeops takes a trained model to edge devices and keeps it healthy there."""

import os

__version__ = "0.1.0"

# From 1.32 on ONNX Runtime reports to its makers over the network unless told before it is loaded
# (its Privacy.md). Who wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
