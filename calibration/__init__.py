"""Calibration finds samples for quantisation, and checks cameras: their lenses and where they
stand."""
