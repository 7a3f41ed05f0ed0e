"""Turn observations into action chunks: frames, warm and cold starts, and what each cost.

One `Inference` belongs to one thread. After start-up it allocates, a chunk: the chunk's two arrays
and a handful of Python objects; the engines' inputs are written in place.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.functions import ACT, Function, named
from ofp_edge.image import as_input
from ofp_edge.manifest import Committed, StateBounds, TimeRow
from ofp_edge.runtime.chunk import NOT_REPEATED, Chunk
from ofp_edge.runtime.infer.beyond import Beyond
from ofp_edge.runtime.infer.guard import check_guard, choose
from ofp_edge.runtime.infer.history import FeatureHistory
from ofp_edge.runtime.infer.prefix import FARTHEST, PrefixInputs
from ofp_edge.runtime.infer.prompt_inputs import PromptInputs
from ofp_edge.runtime.infer.repeats import SHAKEN, Repeats, is_shaken
from ofp_edge.runtime.infer.sampler import Scheme, shipped_scheme, starting
from ofp_edge.runtime.infer.task_inputs import TaskInputs
from ofp_edge.runtime.infer.walk import Walk
from ofp_edge.runtime.infer.wiring import handed_on, observed, require_buffer, source_of
from ofp_edge.spec import PolicySpec

if TYPE_CHECKING:
    from ofp_edge.runtime.runners import Runner


@dataclass
class InferenceTimings:
    """Durations, ns, of the last `observe` and `infer`, and of the bare engine calls inside them.

    nfe: evaluations in a row that the last chunk is made of. evaluations: how often `act` ran for
    it; more at a guarded cold start.
    """

    observe_ns: int = 0
    encode_ns: int = 0
    infer_ns: int = 0
    act_ns: int = 0
    nfe: int = 0
    evaluations: int = 0


class Inference:
    """Runs the functions before `act` once a frame, `act` once a chunk (or as the scheme says).

    functions, runners: what the manifest lists, and a runner of each by name, whose inputs are
    written in place. A feature is kept by the time of its frame and given to `act` with those
    before it; other outputs that feed an input are handed on as they are made.
    seed: every draw of noise comes from PCG64(seed), so the same calls give the same chunks.
    scheme: which evaluations make a chunk; by default one step, warm when there is a plan.
    guard: the number of chunks a cold start makes, each from its own noise, to take one that others
    agree with (guard.py); it costs as many times the evaluations, once an episode. 1: off.
    committed: of the manifest, where `act` is told the start of its chunk; `prefix` writes it.
    prompt: where functions take words, or a task's row; it writes them at each observation.
    state_bounds: of the manifest; `beyond` says which numbers of a state went further.
    draws: whether chunks begin from noise; one that is deterministic has no warm start either.
    Raises OfpError for a guard without noise to choose among.
    """

    def __init__(
        self,
        spec: PolicySpec,
        functions: Sequence[Function],
        runners: Mapping[str, Runner],
        time_rows: Sequence[TimeRow],
        seed: int | Sequence[int],
        *,
        scheme: Scheme | None = None,
        guard: int = 1,
        committed: Committed | None = None,
        prompt: PromptInputs | TaskInputs | None = None,
        state_bounds: Mapping[str, StateBounds] | None = None,
    ) -> None:
        self.draws = named(functions, ACT).takes("noise")
        check_guard(guard, draws=self.draws)
        self.spec, self.functions, self.runners = spec, functions, runners
        self.act = runners[ACT]
        self.before = [runners[x.name] for x in functions if x.name != ACT]
        self.scheme = scheme or shipped_scheme(time_rows)
        self.timings = InferenceTimings()
        act, stacked = self.act, named(functions, ACT).kept_feature
        feature_dim = 0 if stacked is None else stacked.size // spec.n_obs_steps
        self.history = FeatureHistory(spec.n_obs_steps, feature_dim, spec.dt_ns)
        self.started_warm = False
        self.slowest_act_ns = 0
        self.guard = guard
        self._dt_ns = spec.dt_ns
        # A network may flow wider actions than the robot has, whose are the first.
        width = max(act.outputs["chunk_normalised"].size // spec.horizon, spec.action_dim)
        size = spec.horizon * width
        if self.draws:
            require_buffer("act z", act.inputs["z"], (1, size))
        require_buffer("act chunk_normalised", act.outputs["chunk_normalised"], (1, size))
        plan = spec.plan_steps * spec.action_dim
        require_buffer("act chunk", act.outputs["chunk"], (1, plan))
        self._committed, self._state_bounds = committed, state_bounds or {}
        self.beyond = Beyond(self._state_bounds)
        self._features = np.empty(0, np.float32)
        self._feature = self._features
        if stacked is not None:
            require_buffer("act features", act.inputs[stacked.name], stacked.shape)
            self._features = act.inputs[stacked.name].reshape(-1)
            self._feature = source_of(stacked, runners).reshape(-1)
        self._handed_on = handed_on(functions, runners, stacked)
        self._chunk = act.outputs["chunk"].reshape(spec.plan_steps, spec.action_dim)
        self._normalised = act.outputs["chunk_normalised"].reshape(spec.horizon, width)
        self.prefix = None if committed is None else PrefixInputs(act, spec, committed)
        self._walk = Walk(act, seed, self.prefix)
        self._cold = self._walk.prepare(self.scheme.cold)
        self._from_warm = self._walk.prepare(self.scheme.warm or ())
        self._refining = self._walk.prepare(self.scheme.refining)
        self._afresh = self._walk.prepare(self.scheme.afresh)
        self._repeats, self._repeated, self._shaken = None, NOT_REPEATED, self._from_warm
        if self.scheme.afresh and self.scheme.warm:
            self._repeats = Repeats(spec)
            self._shaken = self._walk.prepare(starting(self.scheme.warm, SHAKEN))
        self.prompt = prompt
        self._fields = observed(spec, functions, runners)
        said = {field.name for field in spec.observations if field.told}
        # Copies: the engines may have seen another stream's observation since.
        self._told = [(name, view.copy()) for name, view in self._fields if name in said]
        self._warm = np.empty((spec.horizon, width), dtype=np.float32)
        self._warm_flat = self._warm.reshape(-1)
        self._candidates = np.empty((guard, spec.horizon, width), np.float32)
        self._robots = self._candidates[:, :, : spec.action_dim]  # no loss is on what is behind
        self._candidates_raw = np.empty((guard, spec.plan_steps, spec.action_dim), np.float32)

    def another(self, seed: int | Sequence[int]) -> Inference:
        """Return another stream over the same engines: frames, noise and start are its own.

        Both belong to one thread, and no call of the other may fall between one's `observe` and
        `infer`: what the engines were given last is shared. Close one of them only.
        """
        return Inference(
            self.spec,
            self.functions,
            self.runners,
            (),
            seed,
            scheme=self.scheme,
            guard=self.guard,
            committed=self._committed,
            prompt=self.prompt,
            state_bounds=self._state_bounds,
        )

    def reseed(self, seed: int | Sequence[int]) -> None:
        """Start the stream of noise again from `seed`, and forget what was seen."""
        self.draw_from(seed)
        self.reset()

    def draw_from(self, seed: int | Sequence[int]) -> None:
        """Start the stream of noise again from `seed`; what was seen is kept."""
        self._walk.reseed(seed)

    @property
    def prompt_id(self) -> str | None:
        """Return what names the prompt of the last observation, see PromptInputs; None without."""
        return None if self.prompt is None else self.prompt.id

    def reset(self) -> None:
        """Forget every frame: a new episode. The stream of noise goes on."""
        self.history.clear()

    def observe(self, t_capture_ns: int, observations: Mapping[str, NDArray[Any]]) -> None:
        """Encode the newest frame and keep its feature.

        observations: every observation field by name, in its spec's shape, dtype and units. What
        was seen under another instruction is forgotten.
        Raises ValueError when the frame is not newer than the last one.
        """
        start = time.perf_counter_ns()
        for name, last in self._told:
            if len(self.history) and not np.array_equal(observations[name], last):
                self.history.clear()
            np.copyto(last, observations[name])
        for name, view in self._fields:
            as_input(observations[name], view)
        if self.prompt is not None:
            self.prompt.write(observations)
        row = self.history.slot(t_capture_ns)
        self.beyond.look(observations)
        before = time.perf_counter_ns()
        for runner, fed in zip(self.before, self._handed_on, strict=False):
            for into, source in fed:
                np.copyto(into, source)
            runner.infer()
        after = time.perf_counter_ns()
        np.copyto(row, self._feature)
        for into, source in self._handed_on[-1]:
            np.copyto(into, source)
        timings = self.timings
        timings.encode_ns = after - before
        timings.observe_ns = time.perf_counter_ns() - start

    def infer(
        self,
        t_obs_ns: int,
        previous: Chunk | None = None,
        committed: NDArray[np.float32] | None = None,
    ) -> Chunk:
        """Plan from what was seen up to `t_obs_ns`, warm from `previous` where that still reaches.

        previous: the newest plan made, or None for a cold start (a new episode, a gap, a plan that
        was abandoned). It is shifted by the control steps that have passed between the two
        observations; when none of it is left, or time went backwards, the start is cold. A policy
        that starts warm with little noise leaves a plan that repeated itself: it takes more noise.
        committed: the first d actions from the observation on, normalised (d, action_dim), which
        are decided already and stand in the chunk as they are; None: none.
        Raises ValueError when nothing was observed, or for more than `prefix.steps` committed.
        """
        start = time.perf_counter_ns()
        self.history.gather(t_obs_ns, self._features)
        if self.prefix is not None:
            self.prefix.write(committed)
        elif committed is not None:
            raise ValueError("this policy is not told what is committed")
        shift = -1 if previous is None or not self._from_warm else previous.steps_to(t_obs_ns)
        self.started_warm = 0 <= shift < self.spec.plan_steps
        if previous is not None and self.started_warm:
            previous.shifted_normalised(shift, out=self._warm)
            chunk = self._warm_chunk(t_obs_ns, previous)
        else:
            chunk = self._cold_chunk(t_obs_ns)
        self._repeated = chunk.repeated
        self.timings.nfe = len(self._from_warm if self.started_warm else self._cold)
        self.timings.infer_ns = time.perf_counter_ns() - start
        return chunk

    def refine(self, t_obs_ns: int) -> Chunk:
        """Improve the chunk that `infer` has just made by the scheme's refining steps; the first
        one stays as it is. Raises ValueError when the scheme has none."""
        if not self._refining:
            raise ValueError("this scheme has no refining step")
        start = time.perf_counter_ns()
        self.timings.act_ns = self._walk.more(self._refining)
        self.timings.nfe += len(self._refining)
        self.timings.evaluations = len(self._refining)
        self.timings.infer_ns = time.perf_counter_ns() - start
        made = self._chunk.copy(), self._normalised.copy()
        return Chunk(t_obs_ns, self._dt_ns, *made, refined=True, repeated=self._repeated)

    def warm_up(self, runs: int = 3) -> None:
        """Run every engine, so that no first call falls into the control loop. If the scheme
        refines, then time `act`: the slowest is `slowest_act_ns`."""
        for runner in (*self.before, self.act):
            runner.warm_up(runs)
        self.slowest_act_ns = 0
        for _ in range(10 * runs if self._refining else 0):
            before = time.perf_counter_ns()
            self.act.infer()
            self.slowest_act_ns = max(self.slowest_act_ns, time.perf_counter_ns() - before)

    def close(self) -> None:
        """Release every engine, the last first."""
        for runner in (self.act, *self.before[::-1]):
            runner.close()

    def _warm_chunk(self, t_obs_ns: int, previous: Chunk) -> Chunk:
        np.clip(self._warm_flat, -FARTHEST, FARTHEST, out=self._warm_flat)
        leave = previous.repeated if self._repeats is not None else NOT_REPEATED
        if leave.again and not is_shaken(leave):
            self.timings.act_ns = self._walk.cold(self._afresh)
        else:
            steps = self._shaken if leave.again else self._from_warm
            self.timings.act_ns = self._walk.warm(steps, self._warm_flat)
        self.timings.evaluations = len(self._from_warm)
        normalised, raw, repeated = self._normalised.copy(), self._chunk.copy(), NOT_REPEATED
        if self._repeats is not None:
            repeated = self._repeats.look(normalised, raw, previous, noisier=leave.again)
        return Chunk(t_obs_ns, self._dt_ns, raw, normalised, repeated=repeated)

    def _cold_chunk(self, t_obs_ns: int) -> Chunk:
        engine_ns = 0
        for i in range(self.guard):
            engine_ns += self._walk.cold(self._cold)
            np.copyto(self._candidates[i], self._normalised)
            np.copyto(self._candidates_raw[i], self._chunk)
        taken = choose(self._robots.reshape(self.guard, -1)) if self.guard > 1 else 0
        np.copyto(self._normalised, self._candidates[taken])  # where a refining step begins
        self.timings.act_ns = engine_ns
        self.timings.evaluations = self.guard * len(self._cold)
        return Chunk(
            t_obs_ns,
            self._dt_ns,
            self._candidates_raw[taken].copy(),
            self._candidates[taken].copy(),
        )
