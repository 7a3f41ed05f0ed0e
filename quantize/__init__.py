"""Quantisation: recipes, the plans they lead to, and the quantised modules built from a plan."""
