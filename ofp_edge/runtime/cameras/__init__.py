"""Cameras: the code that reads a RealSense, and the sources of its frames."""
