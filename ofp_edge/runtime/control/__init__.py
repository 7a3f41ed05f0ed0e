"""Decides what reaches the robot: the state machine, the loop, the planner's thread."""
