"""The device side: sessions, predictor, probe. Standard library, numpy and one engine only."""
