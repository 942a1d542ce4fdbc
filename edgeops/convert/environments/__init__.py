"""Environments of their own for what cannot live beside edgeops: locks and workers are data."""
