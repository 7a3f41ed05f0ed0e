"""The policy: networks, training objectives, samplers, the policy folder and its deployed form."""
