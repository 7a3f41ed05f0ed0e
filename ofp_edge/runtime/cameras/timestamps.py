"""Camera timestamps are put on the loop's clock by the quickest delivery seen so far."""

from __future__ import annotations

DRIFT_PPM = 200
"""The most by which the two clocks may drift apart, in parts per million: crystals stay below
100."""


class TimestampMap:
    """A map of one camera's timestamps (ns, any epoch) to the loop's clock (ns).

    A frame cannot arrive before it was taken, so the smallest (arrival - timestamp) seen bounds the
    offset of the two clocks from above. It still contains the quickest delivery, `delivery_ns`,
    which is subtracted. The smallest offset rises by DRIFT_PPM, so that drift is followed while a
    camera that begins to lag is seen to lag. A new timestamp domain, or a timestamp that went back,
    starts the map over. The result is never later than the arrival.
    """

    def __init__(self, delivery_ns: int = 0) -> None:
        self._delivery_ns = delivery_ns
        self._domain: object = None
        self._offset_ns = 0
        self._last_stamp_ns = 0

    def __call__(self, domain: object, stamp_ns: int, arrival_ns: int) -> int:
        """Return the capture time on the loop's clock."""
        offset_ns = arrival_ns - stamp_ns
        if domain == self._domain and stamp_ns >= self._last_stamp_ns:
            drift_ns = (stamp_ns - self._last_stamp_ns) * DRIFT_PPM // 1_000_000
            offset_ns = min(offset_ns, self._offset_ns + drift_ns)
        self._domain, self._last_stamp_ns, self._offset_ns = domain, stamp_ns, offset_ns
        return stamp_ns + offset_ns - self._delivery_ns
