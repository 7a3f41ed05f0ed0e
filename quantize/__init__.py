"""Quantisation: recipes, the plan they lead to, and the quantised modules built from a plan."""
