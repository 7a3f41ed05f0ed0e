"""The process beside a run that brings the robot to rest when the run cannot."""
