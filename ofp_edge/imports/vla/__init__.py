"""Vision-language-action policies of LeRobot, read as data: SmolVLA and pi0.5."""
