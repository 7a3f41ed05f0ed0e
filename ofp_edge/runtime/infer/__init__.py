"""Make one chunk from one observation: which engine, how many evaluations, from what start."""
