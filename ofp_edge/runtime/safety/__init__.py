"""The layer between policy and robot: limits, a heartbeat, an input to stop by. It is not
safety-rated."""
