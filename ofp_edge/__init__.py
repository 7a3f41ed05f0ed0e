"""ofp-edge: one-step flow policies trained, quantised, compiled and run on the robot itself."""

__version__ = "0.1.0"
