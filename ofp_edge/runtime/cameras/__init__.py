"""Cameras: the RealSense reading code and where its frames can come from."""
