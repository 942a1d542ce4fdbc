"""Accuracy, latency, memory and gates of a variant on its device."""
