"""When a frame was taken, on the loop's clock, and what is odd about its number and its time.

device clock    |exposure|  sensor_timestamp = mid-exposure    frame_timestamp = readout begins
get_timestamp() is the readout's, in one of three domains; the loop's clock is a fourth
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ofp_edge.runtime.cameras.sdk import realsense
from ofp_edge.runtime.cameras.timestamps import TimestampMap
from ofp_edge.runtime.remarks import Remarks

_PERIODS_OFF = 0.5
_PERIOD_SHARE = 8  # a new period makes up one part in so many of the running one
_OVERTAKEN_NS = 250_000_000  # a clock further back than that is another clock, not another order


@dataclass(frozen=True)
class Stamp:
    """What the SDK says about a frame: timestamp (ns), its domain, the frame number, and by how
    much mid-exposure was before that timestamp (ns; None where the driver hands out no metadata).
    """

    number: int
    t_ns: int
    domain: str
    exposed_before_ns: int | None

    @property
    def middle_ns(self) -> int:
        """The middle of the exposure, as far as it is known."""
        return self.t_ns - (self.exposed_before_ns or 0)


class FrameTimes:
    """A judge of the frames of one camera, in their order of arrival.

    A repeated or overtaken frame does not count. A timestamp that runs away from the frame numbers
    by more than half a period has jumped: the mapping to the loop's clock starts over, so that one
    jump is not carried along. Each of these is remarked once and counted. For `delivery_ns` see
    TimestampMap. `even` says that frames come at a steady rate; a simulator's frames need not.
    """

    def __init__(self, remarks: Remarks, delivery_ns: int = 0, *, even: bool = True) -> None:
        self._remarks, self._delivery_ns, self._even = remarks, delivery_ns, even
        self.restart()

    def restart(self) -> None:
        """Forget the past, because the camera was started anew: its numbers and clock may be
        others."""
        self._map = TimestampMap(self._delivery_ns)
        self._last: Stamp | None = None
        self._period_ns = 0.0

    def is_new(self, stamp: Stamp) -> bool:
        """Say whether this frame comes after the last one, and remark on repeats and gaps."""
        last = self._last
        if last is not None:
            if stamp.number == last.number:
                self._remarks.say("repeated frame", f"number {stamp.number} came twice")
                return False
            # A restarted device counts from the start again; its time goes on, or starts again too.
            if stamp.number < last.number and 0 <= last.t_ns - stamp.t_ns < _OVERTAKEN_NS:
                self._remarks.say("overtaken frame", f"{stamp.number} after {last.number}")
                return False
        if self._even:
            self._check(stamp)
        self._last = stamp
        return True

    def on_clock(self, stamp: Stamp, arrival_ns: int) -> int:
        """Return when the middle of the exposure was, on the loop's clock, on which it arrived
        then."""
        before_ns = stamp.exposed_before_ns
        if before_ns is None:
            self._remarks.say(
                "metadata absent",
                "the driver hands out no frame metadata (an unpatched kernel?): capture times are "
                "the readout's, exposure is not taken off",
            )
        if stamp.domain == "system_time":
            self._remarks.say(
                "no device timestamps",
                "timestamps are the computer's (system_time): capture times are arrival times",
            )
        return self._map(stamp.domain, stamp.t_ns, arrival_ns) - (before_ns or 0)

    def _check(self, stamp: Stamp) -> None:
        last = self._last
        if last is None:
            return
        if stamp.number < last.number:
            self._remarks.say("frame numbers start over", f"{stamp.number} after {last.number}")
            return
        if stamp.domain != last.domain:
            self._remarks.say("clock changed", f"from {last.domain} to {stamp.domain}")
            self._period_ns = 0.0
            return
        count = stamp.number - last.number
        if count > 1:
            self._remarks.say(
                "missing frames", f"{count - 1} before number {stamp.number}: unread, or lost"
            )
        step_ns = (stamp.t_ns - last.t_ns) / count
        off_ns = (step_ns - self._period_ns) * count
        if self._period_ns and abs(off_ns) > _PERIODS_OFF * self._period_ns:
            self._remarks.say(
                "clock jump",
                f"{stamp.domain} moved by {off_ns / 1e6:+.1f} ms against the frame numbers at "
                f"number {stamp.number}",
            )
            self._map = TimestampMap(self._delivery_ns)
            return
        self._period_ns += (step_ns - self._period_ns) / (_PERIOD_SHARE if self._period_ns else 1)


def read_stamp(frame: Any) -> Stamp:
    """Return the stamp of an SDK frame."""
    key = realsense().frame_metadata_value
    before_ns = None
    has = frame.supports_frame_metadata
    if has(key.sensor_timestamp) and has(key.frame_timestamp):
        value = frame.get_frame_metadata
        before_ns = 1000 * (value(key.frame_timestamp) - value(key.sensor_timestamp))
    return Stamp(
        frame.get_frame_number(),
        round(frame.get_timestamp() * 1e6),
        frame.get_frame_timestamp_domain().name,
        before_ns,
    )
