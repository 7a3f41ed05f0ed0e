"""The measurement of latency, and its reports."""
