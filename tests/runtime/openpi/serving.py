"""A server in a thread, openpi's own client as it is published, and observations to send."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.fields import Rgb, Text
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.openpi.inputs import Inputs
from ofp_edge.runtime.openpi.names import Names, own_names
from ofp_edge.runtime.openpi.server import Door, PolicyServer
from ofp_edge.spec import PolicySpec
from tests.runtime.standins import ROWS, make_runners, make_spec

WHEEL = Path(__file__).parents[2] / "fixtures/openpi/openpi_client-0.1.2-py3-none-any.whl"
SHA256 = "b8aa6d2ea7172d3b7c1fcf867d43930052b5ff19ea7b777966781105aa989897"
TASKS = ("open the door", "close the door")
STATES = make_spec(n_obs_steps=2)
SEED = 3
DT = STATES.dt_ns


def openpi_client() -> Any:
    """The module `openpi_client.websocket_client_policy`, from the wheel of the registry: it asks
    for an older numpy than ours, so it is in no environment."""
    assert hashlib.sha256(WHEEL.read_bytes()).hexdigest() == SHA256
    if str(WHEEL) not in sys.path:
        sys.path.append(str(WHEEL))
    import openpi_client.websocket_client_policy as module

    return module


def with_words() -> PolicySpec:
    """States and an instruction."""
    return replace(STATES, observations=(*STATES.observations, Text("task", choices=TASKS)))


def with_picture(side: int = 8) -> PolicySpec:
    """States and a square image of camera "front"."""
    field = Rgb("rgb", (3, side, side), "1", "front", (0.0,) * 3, (1.0,) * 3, "front")
    return replace(STATES, observations=(*STATES.observations, field))


def brain(spec: PolicySpec, seed: int = SEED) -> Inference:
    """Hand-made engines: an answer depends on the state, the instruction, noise and the plan."""
    return Inference(spec, *make_runners(spec), ROWS, seed)


def states(count: int, seed: int = 0) -> list[NDArray[np.float32]]:
    """Of a stream, (4,) each."""
    rng = np.random.default_rng(seed)
    return list(rng.normal(size=(count, 4)).astype(np.float32))


def alone(
    spec: PolicySpec, seen: list[NDArray[np.float32]], *, every: int = 4, seed: int = SEED
) -> list[NDArray[np.float32]]:
    """The chunks of a bare engine that sees these states, `every` control steps apart."""
    inference, plan, made = brain(spec, seed), None, []
    for number, state in enumerate(seen):
        inference.observe(number * every * DT, {"state": state})
        plan = inference.infer(number * every * DT, plan)
        made.append(plan.actions)
    return made


@dataclass
class Running:
    """A server that listens."""

    port: int
    server: PolicyServer
    lines: list[str]

    @property
    def url(self) -> str:
        """For clients of either kind."""
        return f"ws://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving(
    spec: PolicySpec = STATES,
    names: Names | None = None,
    inference: Inference | None = None,
    instruction: str | None = None,
    metadata: dict[str, Any] | None = None,
    **door: Any,
) -> Iterator[Running]:
    """Serve in a thread until the context ends."""
    lines: list[str] = []
    inputs = Inputs(spec, {}, names or own_names(spec), instruction)
    made = PolicyServer(
        inference or brain(spec),
        inputs,
        metadata or {"ofp_edge": {"n_obs_steps": spec.n_obs_steps}},
        Door(port=0, **door),
        SEED,
        lines.append,
    )
    listening, ports = threading.Event(), list[int]()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))

        def ready(port: int) -> None:
            ports.append(port)
            listening.set()

        await made.run(stop, ready)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert listening.wait(30)
    try:
        yield Running(ports[0], made, lines)
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()


def stamped(state: NDArray[Any], t_obs_ns: int, **more: Any) -> dict[str, Any]:
    """An observation with its time, as ofp-edge's own key has it."""
    return {"state": state, "ofp_edge": {"t_obs_ns": t_obs_ns, **more}}


def theirs(running: Running, **options: Any) -> Any:
    """openpi's own client, connected."""
    return openpi_client().WebsocketClientPolicy("127.0.0.1", running.port, **options)


def until(true: Callable[[], bool]) -> None:
    """Wait, 30 s at most."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
