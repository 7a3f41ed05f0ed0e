"""Draw one cold chunk of a policy or a bundle for each of many decision states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ofp_edge.evaluate.contestant import POLICY, Contestant
from ofp_edge.evaluate.decisions import Decision
from ofp_edge.image import as_input
from ofp_edge.progress import Progress
from ofp_edge.runtime.infer.guard import choose

_BATCH = 512


def in_batches(contestant: Contestant) -> bool:
    """Return whether its network takes many states at once: a quantised one and a bundle can't."""
    return contestant.kind == POLICY and contestant.precision == "fp32"


def drawn_one_by_one(
    contestant: Contestant, decisions: list[Decision], seed: int, progress: Progress
) -> list[NDArray[np.float32]]:
    """Draw (plan_steps, A) raw units each, by the Inference that robots run (guarded or not)."""
    inference, chunks = contestant.inference, []
    inference.reseed(seed)
    for number, decision in enumerate(decisions):
        inference.reset()
        steps = contestant.spec.n_obs_steps
        for k in range(steps):
            frame = {name: values[k] for name, values in decision.observations.items()}
            inference.observe(k * contestant.spec.dt_ns, frame)
        chunks.append(inference.infer((steps - 1) * contestant.spec.dt_ns).actions)
        progress(number + 1, len(decisions), "chunks")
    return chunks


def drawn_in_batches(
    path: Path, contestant: Contestant, decisions: list[Decision], guard: int, seed: int,
    progress: Progress,
) -> list[NDArray[np.float32]]:  # fmt: skip
    """Draw the same from a policy folder's network in torch, a batch of states at a time.

    At one evaluation a chunk the noise, and so the chunk, is the one that Inference would draw.
    """
    import torch

    from ofp_edge.policy.folder import load_policy

    policy = load_policy(path)
    network, method = policy.network, policy.sampling
    random = np.random.Generator(np.random.PCG64(seed))
    chunks: list[NDArray[np.float32]] = []
    for first in range(0, len(decisions), _BATCH):
        batch = decisions[first : first + _BATCH]
        with torch.no_grad():
            seen = [
                torch.from_numpy(as_input(np.stack([d.observations[field.name] for d in batch])))
                for field in contestant.spec.observations
            ]
            features = network.encode(seen)
            shape = (len(batch), guard, network.chunk_size)
            noise = torch.from_numpy(random.standard_normal(shape, dtype=np.float32))
            noise *= contestant.start.noise_cold
            drawn = [
                method.sample(network, features, noise[:, i], contestant.nfe) for i in range(guard)
            ]
            candidates = torch.stack(drawn, dim=1).numpy()  # (B, guard, H*A) normalised
            chosen = [x[choose(x) if guard > 1 else 0] for x in candidates]
            raw = network.denormalize_actions(torch.from_numpy(np.stack(chosen))).numpy()
            raw = raw[:, contestant.spec.start_index :]
        chunks += list(raw)
        progress(len(chunks), len(decisions), "chunks")
    return chunks
