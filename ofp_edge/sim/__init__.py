"""Simulated robots: tasks, rendering, demonstrations, a simulated camera and a simulated robot."""
