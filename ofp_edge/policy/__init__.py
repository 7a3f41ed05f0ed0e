"""Torch side of a policy: networks, losses, samplers, the policy folder, the deployed functions."""
