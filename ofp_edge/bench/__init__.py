"""Benchmarks turn a suite file into a table of methods with intervals and verdicts."""
