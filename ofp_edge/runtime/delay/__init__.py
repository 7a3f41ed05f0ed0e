"""Measures how long after its command a robot moves."""
