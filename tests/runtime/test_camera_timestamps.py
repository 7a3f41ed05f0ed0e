"""Capture times: never after arrival, tied to the quickest delivery, honest about lag."""

from hypothesis import given
from hypothesis import strategies as st

from ofp_edge.runtime.cameras.timestamps import TimestampMap

MS = 1_000_000


@given(st.lists(st.integers(0, 80 * MS), min_size=2, max_size=60), st.integers(-(10**15), 10**15))
def test_capture_time_is_between_the_truth_and_the_arrival(delays_ns, epoch_ns):
    stamps = TimestampMap()
    quickest = 10**18
    for i, delay in enumerate(delays_ns):
        taken = 10**12 + i * 100 * MS
        arrival = taken + delay
        quickest = min(quickest + 100 * MS * 200 // 10**6, delay)
        mapped = stamps("hardware", taken + epoch_ns, arrival)
        assert taken <= mapped <= arrival
        assert mapped - taken <= quickest


def test_a_camera_that_begins_to_lag_is_seen_to_lag():
    stamps = TimestampMap()
    for i in range(100):
        late = 5 * MS if i < 50 else 150 * MS
        taken = i * 33 * MS
        mapped = stamps("hardware", taken, taken + late)
    assert mapped - taken < 7 * MS


def test_drift_between_the_clocks_is_followed_for_an_hour():
    stamps = TimestampMap()
    for i in range(0, 3600 * 30):
        taken = i * 33 * MS
        device = taken - taken * 100 // 10**6  # 100 ppm slow
        mapped = stamps("hardware", device, taken + 5 * MS)
    assert abs(mapped - (taken + 5 * MS)) < MS // 100


def test_a_new_domain_or_a_step_back_starts_over():
    stamps = TimestampMap()
    stamps("hardware", 10**9, 2 * 10**9)
    assert stamps("system", 10**15, 3 * 10**9) == 3 * 10**9
    assert stamps("system", 10**14, 4 * 10**9) == 4 * 10**9


def test_the_known_delivery_time_is_subtracted():
    assert TimestampMap(9 * MS)("hardware", 0, 50 * MS) == 41 * MS
