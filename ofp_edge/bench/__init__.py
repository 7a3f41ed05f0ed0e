"""Benchmarks: a suite file in, a table of methods with intervals and verdicts out."""
