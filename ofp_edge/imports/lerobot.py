"""Import a policy of LeRobot's: a `pretrained_model` folder of JSON and safetensors.

Each type of policy is a file of its own. An entry of config.json that is neither read nor known to
be without effect is refused, and so is a tensor that has no place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from ofp_edge.contents import told
from ofp_edge.errors import PolicyError
from ofp_edge.hub import fetching
from ofp_edge.imports.fields import Wanted
from ofp_edge.imports.lerobot_act import import_act
from ofp_edge.imports.lerobot_diffusion import import_diffusion
from ofp_edge.imports.record import Imported
from ofp_edge.imports.spec_file import small_json
from ofp_edge.imports.values import Values
from ofp_edge.imports.vla.fields import Told
from ofp_edge.imports.vla.pi05 import import_pi05
from ofp_edge.imports.vla.smolvla import import_smolvla
from ofp_edge.policy.weights import read_tensors
from ofp_edge.strict import shown

CONFIG, MODEL = "config.json", "model.safetensors"
Importer = Callable[[Path, Values, Mapping[str, Tensor], Wanted], Imported]
TYPES: dict[str, Importer] = {"act": import_act, "diffusion": import_diffusion}
"""By type: given the weights' path, config.json, the weights, and what the user wants."""
OF_WORDS = {"smolvla": import_smolvla, "pi05": import_pi05}
"""Those that are told what only the user knows of their words; their weights may be in shards."""


def import_lerobot(folder: Path, wanted: Wanted, words: Told | None = None) -> Imported:
    """Import it. words: what only the user knows of a policy of words. PolicyError, SpecMismatch:
    a value or tensor is missing, refused or unfit."""
    if folder.is_file():
        is_it = "a file" if (what := told(folder)) is None else what
        raise PolicyError(
            f"{folder}: expected LeRobot's pretrained_model folder, with {CONFIG} and {MODEL}, got "
            f"{is_it}."
        )
    if hint := fetching(folder, dataset=False):
        raise PolicyError(f"{folder} does not exist.{hint}")
    config = Values(small_json(folder / CONFIG), str(folder / CONFIG))
    kind = config.text("type")
    if kind in OF_WORDS:
        return OF_WORDS[kind](folder, config, wanted, words or Told())
    if kind not in TYPES:
        raise PolicyError(
            f"{folder}: a policy of type {shown(kind)} can't be imported, only "
            f"{', '.join((*TYPES, *OF_WORDS))} can. Export its network as a program: import "
            "--exported."
        )
    if words is not None and words.anything:
        raise PolicyError(
            f"{folder}: a policy of type {kind} takes no words: leave --tokenizer, --instruction "
            "and --vlm out."
        )
    return TYPES[kind](folder / MODEL, config, read_tensors(folder / MODEL), wanted)
