"""Vision-language-action policies in plain torch: a prefix of images and words, and an expert.

The prefix is encoded once a frame into keys and values; the expert's step, which a chunk takes once
or several times, reads nothing else of it. Positions, masks and rotations are float32 whatever the
weights are.
"""
