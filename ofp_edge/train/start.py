"""The policy that a run starts from (`--init`, `distill`), and the data that it is trained on."""

from __future__ import annotations

from pathlib import Path

from ofp_edge.data.alike import require_alike
from ofp_edge.data.cache.access import Access
from ofp_edge.data.dataset import Dataset
from ofp_edge.data.mixture import Mixture, mixture_of
from ofp_edge.data.open import open_dataset
from ofp_edge.data.telling import all_told, told_as, with_tasks
from ofp_edge.errors import PolicyError, SpecMismatch
from ofp_edge.fields import Rgb
from ofp_edge.fields.text import instructions_of
from ofp_edge.files import canonical_json, sha256_bytes, sha256_file
from ofp_edge.policy.config import PolicyConfig
from ofp_edge.policy.folder import Policy, load_policy, read_config
from ofp_edge.policy.presets import IMPORTED, Preset, like_imported, preset
from ofp_edge.policy.weights import MODEL
from ofp_edge.spec import ObservationField
from ofp_edge.train.request import Request


def opened(
    request: Request, access: Access | None, observations: tuple[ObservationField, ...] | None
) -> Dataset | Mixture:
    """Open the request's datasets, told as a policy with these observations is; None: a new one,
    which is told instructions where it is asked for or its preset needs them."""
    found = [open_dataset(path, access) for path in (request.dataset, *request.mixed)]
    if request.instructed and observations is not None and not instructions_of(observations):
        raise PolicyError(
            f"--instructed: {request.init or request.output} takes no instruction, and its network "
            "can't learn to. Leave it out, or train a new policy."
        )
    if observations is not None:
        found = [told_as(dataset, observations) for dataset in found]
    elif (reads := preset(request.preset or "small").told) or request.instructed or all_told(found):
        found = with_tasks(found, reads_words=reads)
    return mixture_of(found, request.weights)


def start_of(request: Request) -> Policy:
    """Load the policy that `init` names, widened to distil it. Raises PolicyError."""
    init = request.init or Path()
    start = load_policy(init)
    if request.distill:
        return start.widened(str(init))
    if (why := start.config.network.refusals.get("train")) is not None:
        raise PolicyError(f"--init {init} {why}")
    if request.committed_steps is None:
        return start
    return start.committing(request.committed_steps, f"--init {init}: --committed-steps")


def settings_of(start: Policy) -> Preset:
    """The preset whose settings go on; of an imported policy that of the network most like it."""
    config = start.config
    if config.preset != IMPORTED:
        return preset(config.preset)
    images = any(f.part == Rgb.part for f in config.spec.observations)
    return like_imported(config.network, images=images)


def require_fits(config: PolicyConfig, dataset: Dataset | Mixture, what: str) -> None:
    """Raise SpecMismatch naming the first difference between what a policy sees and does and a
    dataset, which may have more to see. Ranges that were measured are each one's own: the policy
    keeps its own, with the normalisation that its weights were trained with. Units and frames count
    where both state them."""
    spec, have = config.spec, dataset.interface
    seen, done = f"{what}: observation", f"{what}: action"
    require_alike(spec.observations, have.observations, seen, exact=False, unstated=True)
    require_alike(spec.actions, have.actions, done, exact=True, unstated=True)
    orders = [", ".join(x.name for x in side.actions) for side in (spec, have)]
    if orders[0] != orders[1]:
        raise SpecMismatch(f"{what}: order of the actions", *orders)
    for name, camera in config.cameras.items():
        config.camera_tolerance.require(
            name, camera, dataset.cameras[name], only_images=spec.only_images(name)
        )


def weights_sha256(folder: Path) -> str:
    """Return the hash of a policy's weights, or of the hashes of its files where they are many."""
    path = folder / MODEL
    if path.exists():
        return sha256_file(path)
    return sha256_bytes(canonical_json(read_config(folder).files))
