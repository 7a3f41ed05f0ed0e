"""Simulated robots: tasks, rendering, demonstrations, a simulated camera and robot."""
