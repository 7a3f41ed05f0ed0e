"""The code that runs on the robot: cameras, inference, control, telemetry. Never imports torch."""
