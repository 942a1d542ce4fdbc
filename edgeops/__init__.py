"""edgeops takes a trained model to edge devices and keeps it healthy there."""

__version__ = "0.1.0"
