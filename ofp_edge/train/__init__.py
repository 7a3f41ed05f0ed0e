"""Training: batches, the loop, checkpoints that resume bit-identically."""
