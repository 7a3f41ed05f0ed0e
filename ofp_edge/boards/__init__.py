"""Boards as data, every figure with its source: ARM computers by their CPU, Orins by their GPU."""
