"""Calibration: samples for quantisation; cameras, their lenses and where they stand."""
