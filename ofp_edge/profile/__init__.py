"""Latency measured and reported."""
