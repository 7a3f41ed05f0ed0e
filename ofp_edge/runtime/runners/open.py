"""Opens both functions of a bundle on an engine, held against the golden outputs."""

from __future__ import annotations

from collections.abc import Sequence

from ofp_edge.bundle import Bundle
from ofp_edge.manifest import FUNCTIONS, Artefact
from ofp_edge.onnx_file import require_self_contained
from ofp_edge.runtime.runners import Runner, load_runner
from ofp_edge.runtime.runners.check import check_parity
from ofp_edge.runtime.runners.pte_file import require_consistent
from ofp_edge.runtime.runners.requirements import check_requirements

DEVICE_ENGINES = ("tensorrt",)
"""Engines that are built on the device from the bundle's graph, and kept beside the bundle."""


def program_of(bundle: Bundle, artefact: Artefact) -> bytes:
    """The bytes that an engine is given: of the hash that the manifest states; a graph that names
    no other file, a program that does not contradict itself. Raises BundleError.

    Neither makes a bundle of a stranger safe to run: what is in it is computed as it says.
    """
    data, what = bundle.read(artefact.file), str(bundle.path / artefact.file)
    if artefact.engine == "executorch":
        require_consistent(data, what)
    else:
        require_self_contained(data, what)
    return data


def open_functions(
    bundle: Bundle, engine: str, precision: str, threads: int, cpus: Sequence[int]
) -> list[Runner]:
    """`encode` and `act`. Raises MissingExtra, BundleError, OfpError, ParityError.

    threads, cpus: of an engine on the CPU, see `load_runner`.
    """
    if engine in DEVICE_ENGINES:
        from ofp_edge.runtime.runners.tensorrt.engines import open_runners

        opened = open_runners(bundle, precision)
        return [opened[function] for function in FUNCTIONS]
    manifest, runners = bundle.manifest, []
    for function in FUNCTIONS:
        artefact = bundle.artefact(function, engine, precision)
        check_requirements(artefact)
        runners.append(
            load_runner(
                engine, program_of(bundle, artefact), manifest.inputs(function),
                manifest.outputs(function), threads=threads, cpus=cpus,
            )
        )  # fmt: skip
    check_parity(bundle, engine, precision, *runners)
    return runners
