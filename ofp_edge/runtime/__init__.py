"""What runs on the robot: cameras, inference, the control loop, telemetry. Never imports torch."""
