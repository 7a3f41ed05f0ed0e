"""Videos are decoded in another process: a damaged one is one line, whatever it does to that."""

from __future__ import annotations

import os
import random
import signal
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ofp_edge.data.layouts import video
from ofp_edge.data.layouts.video import VideoReader
from ofp_edge.errors import DatasetError

RATE, COUNT, SHAPE = 10.0, 40, (48, 64, 3)


def written(path: Path, codec: str = "h264", form: str = "mp4") -> Path:
    """Frame i is of brightness 6 i."""
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=Fraction(int(RATE)))
        stream.width, stream.height, stream.pix_fmt = SHAPE[1], SHAPE[0], "yuv420p"
        stream.gop_size = 8
        for number in range(COUNT):
            frame = np.full(SHAPE, 6 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("video") / "x.mp4")


def numbers(frames: Any) -> list[int]:
    return [round(float(x.mean()) / 6) for x in frames]


def read(reader: VideoReader, path: Path, first: int = 0, count: int = COUNT) -> Any:
    times = (first + np.arange(count)) / RATE
    return reader.frames(path, times, 0.5 / RATE, SHAPE, "here")


def decoders() -> set[int]:
    """Children of this process that are alive."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                state = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(state[1]) == os.getpid() and state[0] != "Z":
                found.add(int(entry))
    return found


def test_frames_come_in_order_from_any_time_on_by_one_process(good: Path) -> None:
    before, reader = decoders(), VideoReader()
    assert numbers(read(reader, good)) == list(range(COUNT))
    for first in (0, 7, 8, 23, 38):
        assert numbers(read(reader, good, first, 2)) == [first, first + 1]
        assert len(decoders() - before) == 1
    del reader
    assert decoders() <= before


def test_a_video_that_is_left_in_the_middle_leaves_nothing_behind(good: Path) -> None:
    before, reader = decoders(), VideoReader()
    for taken in (1, 2, 30):
        frames = read(reader, good)
        assert numbers(next(frames) for _ in range(taken)) == list(range(taken))
        frames.close()
        assert numbers(read(reader, good, 5, 3)) == [5, 6, 7]
    assert len(decoders() - before) == 1


def test_two_videos_are_read_in_turns(good: Path) -> None:
    reader = VideoReader()
    one, other = read(reader, good), read(reader, good, 20, 20)
    for number in range(20):
        assert numbers([next(one), next(other)]) == [number, 20 + number]


@pytest.mark.parametrize("sent", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_the_end_of_its_process_is_one_line_and_the_next_video_is_read(
    good: Path, sent: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "_PIPE_BYTES", 4096)  # so that it can't be ahead of us
    before, reader = decoders(), VideoReader()
    frames = read(reader, good)
    next(frames)
    (process,) = decoders() - before
    os.kill(process, sent)
    with pytest.raises(DatasetError) as caught:
        list(frames)
    line = str(caught.value)
    assert line.startswith("here: video ") and "\n" not in line
    assert f"ends the process that decodes it ({sent.name})" in line
    assert numbers(read(reader, good)) == list(range(COUNT))


def test_a_process_that_says_nothing_is_ended(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_PIPE_BYTES", 4096)
    before, reader = decoders(), VideoReader()
    frames = read(reader, good)
    next(frames)
    (process,) = decoders() - before
    os.kill(process, signal.SIGSTOP)
    monkeypatch.setattr(video, "_SILENCE_S", 0.5)
    with pytest.raises(DatasetError, match="nothing came for 0.5 s"):
        list(frames)
    assert process not in decoders()


def test_frames_of_another_shape_are_told_before_they_are_made(good: Path) -> None:
    frames = VideoReader().frames(good, [0.0, 0.1], 0.05, (48, 65, 3), "here")
    with pytest.raises(DatasetError, match=r"frame of \(48, 64, 3\), expected \(48, 65, 3\)"):
        list(frames)


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile {}\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "m3u8 with a key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{}"\n#EXTINF:9,\n{}\n',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    "dash": '<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{}'
            "</BaseURL></Representation></AdaptationSet></Period></MPD>",
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(PLAYLISTS))
@pytest.mark.parametrize("name", ["absolute", "beside", "file:"])
def test_a_playlist_is_no_video(kind: str, name: str, good: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(good.read_bytes())
    named = {"absolute": str(other), "beside": "other.mp4", "file:": f"file:{other}"}[name]
    (tmp_path / "x.mp4").write_text(PLAYLISTS[kind].replace("{}", named))
    with pytest.raises(DatasetError, match="cannot be decoded"):
        list(read(VideoReader(), tmp_path / "x.mp4"))


def test_another_container_is_no_mp4(tmp_path: Path) -> None:
    path = written(tmp_path / "x.mkv", "mpeg4", "matroska").rename(tmp_path / "x.mp4")
    with pytest.raises(DatasetError, match="cannot be decoded"):
        list(read(VideoReader(), path))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.mp4")
    with pytest.raises(DatasetError, match="missing|plain file"):
        list(read(VideoReader(), tmp_path / "x.mp4"))


def test_damaged_videos_are_one_line_each(good: Path, tmp_path: Path) -> None:
    """Bits, bytes and numbers changed, in the tables and in the pictures."""
    rng, reader = random.Random(0), VideoReader()
    whole, path = good.read_bytes(), tmp_path / "x.mp4"
    tables = whole.index(b"moov")
    for number in range(30):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 4, 40))):
            at = rng.randrange(tables if number % 2 else 32, len(data) - 4)
            value = rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, rng.randrange(1 << 32)))
            data[at : at + 4] = value.to_bytes(4, "big")
        path.write_bytes(data)
        try:
            for _ in read(reader, path):
                pass
        except DatasetError as cause:
            assert str(cause).startswith("here: video ") and "\n" not in str(cause)
    assert numbers(read(reader, good)) == list(range(COUNT))


def test_the_decoder_imports_nothing_from_the_working_directory(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("av", "numpy", "ofp_edge"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run from here')")
    monkeypatch.chdir(tmp_path)
    assert len(list(read(VideoReader(), good))) == COUNT
