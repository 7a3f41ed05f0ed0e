"""Calibration: samples for quantisation."""
