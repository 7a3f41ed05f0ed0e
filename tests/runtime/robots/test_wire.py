"""Messages: there and back bit-exact, nothing executable, nothing half-read."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofp_edge.errors import RobotError
from ofp_edge.runtime.robots.wire import LARGEST_BYTES, WireError, decode, encode

# An engine may have told this thread to flush subnormal numbers.
FLOATS = st.floats(width=32, allow_subnormal=False)


@given(
    st.dictionaries(st.text(max_size=5), st.lists(FLOATS, max_size=9), max_size=3),
    st.integers(),
)
def test_a_message_comes_back_bit_exact(values, number):
    arrays = {name: np.array(row, np.float32) for name, row in values.items()}
    kind, plain, got = decode(encode("state", arrays, t_ns=number))
    assert (kind, plain) == ("state", {"t_ns": number}) and list(got) == list(arrays)
    for name, array in arrays.items():
        assert got[name].tobytes() == array.tobytes()


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data):
    with pytest.raises(WireError):
        decode(data)


def test_a_cut_message_is_refused_wherever_it_is_cut():
    message = encode("action", {"action": np.arange(3.0)})
    for length in range(len(message)):
        with pytest.raises(WireError):
            decode(message[:length])
    with pytest.raises(WireError):
        decode(message + b"x")


def test_objects_are_neither_written_nor_read():
    with pytest.raises(ValueError, match="allow_pickle"):
        encode("state", {"x": np.array([object()], dtype=object)})
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([{}], dtype=object), allow_pickle=True)
    message = encode("state", {"x": np.zeros(1)})
    plain = encode("state", {"x": np.zeros(1)}).split(b"\x93NUMPY")[0]
    forged = plain.replace(b"136]", b"%d]" % len(buffer.getvalue())) + buffer.getvalue()
    assert len(message) != len(forged)
    with pytest.raises(WireError):
        decode(forged)


def test_a_message_that_is_too_large_is_not_sent():
    with pytest.raises(WireError, match="more than"):
        encode("state", {"x": np.zeros(LARGEST_BYTES)})


HEADERS = (
    b"[", b"[" * 9000, b"7", b"{}", b'{"kind": ["stop"], "arrays": []}', b"\xff",
    b'{"kind": "stop", "arrays": {}}', b'{"kind": "stop", "arrays": [["a"]]}',
    b'{"kind": "stop", "arrays": [[1, 2]]}', b'{"kind": "stop", "arrays": [["a", -1]]}',
    b'{"kind": "stop", "arrays": [["a", true]]}', b'{"kind": "stop", "arrays": [["a", 1e300]]}',
    b'{"kind": "stop", "arrays": [["a", 9999999999999999999999]]}', b'{"kind": "s", "x": NaN}',
    b'{"kind": "\\u001b[2J", "arrays": 1}',
)  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_of_another_form_is_one_line(header):
    with pytest.raises(WireError, match="a message that can't be read") as caught:
        decode(len(header).to_bytes(4, "little") + header)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300
    assert isinstance(caught.value, RobotError)


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.zeros(2, np.complex64), np.zeros(1, "V8"), np.zeros(2, ">f4"),
              np.zeros(1, "M8[ns]"), np.zeros(1, [("a", "f4")]), np.zeros(2, np.longdouble)]
)  # fmt: skip
def test_only_plain_numbers_are_read(array):
    with pytest.raises(WireError, match="array 'x'"):
        decode(encode("state", {"x": array}))


def test_a_name_is_there_once_and_nothing_exceeds_its_message():
    message = encode("state", {"xx": np.zeros(2), "yy": np.zeros(2)})
    with pytest.raises(WireError, match="twice, or cut off"):
        decode(message.replace(b"yy", b"xx"))
    with pytest.raises(WireError, match="twice, or cut off"):
        decode(message.replace(b'"xx", 144', b'"xx", 944'))
    with pytest.raises(WireError, match="bytes"):
        decode(encode("stop") + bytes(LARGEST_BYTES))
