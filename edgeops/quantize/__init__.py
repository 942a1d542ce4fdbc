"""Calibration, schemes and the ladder that keeps a variant within its accuracy budget."""
