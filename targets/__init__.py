"""Targets: what a bundle is built for, how it is built, and the boards that run it."""
