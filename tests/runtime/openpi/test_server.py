"""openpi's own client, and worse ones, against a server that listens on loopback."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets
import websockets.sync.client

from ofp_edge.errors import OfpError
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.openpi.door import loopback, read_token, tls_of
from ofp_edge.runtime.openpi.packing import pack, unpack
from tests.runtime.openpi.serving import (
    DT,
    STATES,
    alone,
    brain,
    openpi_client,
    serving,
    stamped,
    states,
    theirs,
    until,
)
from tests.runtime.standins import make_spec

pytestmark = pytest.mark.filterwarnings("ignore:connect:DeprecationWarning")  # of openpi's client
TLS = Path(__file__).parents[2] / "fixtures/tls"
TOKEN = "0123456789abcdef"


def test_openpis_client_works_unchanged_and_its_chunks_are_the_engines_bit_for_bit() -> None:
    seen = states(6)
    with serving() as running:
        client = theirs(running)
        assert client.get_server_metadata()["ofp_edge"]["n_obs_steps"] == 2
        answers = [client.infer(stamped(x, 4 * i * DT)) for i, x in enumerate(seen)]
        client.reset()
        got = [x["actions"].tobytes() for x in answers]
        assert got == [x.tobytes() for x in alone(STATES, seen)]
        assert "prev_total_ms" not in answers[0]["server_timing"]
        last = answers[-1]
        assert last["server_timing"]["prev_total_ms"] > 0 and last["policy_timing"]["infer_ms"] > 0
        assert last["ofp_edge"]["age_ms"] >= last["ofp_edge"]["latency_ms"] > 0
        assert set(last["server_timing"]) == {"infer_ms", "prev_total_ms"}
    assert running.server.served.answers == 6


def test_a_wrong_message_is_one_line_and_the_stream_goes_on() -> None:
    seen = states(4)
    with serving() as running:
        client, got = theirs(running), []
        for i, x in enumerate(seen):
            with pytest.raises(RuntimeError, match="'state': expected 4 numbers, got") as caught:
                client.infer({"state": np.zeros(3)})
            assert len(str(caught.value).splitlines()) == 2  # their own first line
            got.append(client.infer(stamped(x, 4 * i * DT))["actions"].tobytes())
        assert got == [x.tobytes() for x in alone(STATES, seen)]
    assert running.server.served.refused == 4
    assert sum("expected 4 numbers" in line for line in running.lines) == 4


def test_a_hundred_clients_at_once_each_have_a_stream_of_their_own() -> None:
    seen = states(3)
    wanted = [x.tobytes() for x in alone(STATES, seen)]
    with serving(connections=100) as running:
        module = openpi_client()

        def one(_: int) -> tuple[Any, list[bytes]]:
            client = module.WebsocketClientPolicy("127.0.0.1", running.port)
            return client, [
                client.infer(stamped(x, 4 * i * DT))["actions"].tobytes()
                for i, x in enumerate(seen)
            ]

        with ThreadPoolExecutor(20) as pool:
            results = list(pool.map(one, range(100)))
        assert all(got == wanted for _, got in results)
        with pytest.raises(websockets.InvalidStatus) as caught:
            theirs(running)
        assert caught.value.response.status_code == 503
        assert caught.value.response.body == b"100 connections are open already\n"
        results[0][0]._ws.close()
        until(lambda: running.server.served.answers == 3)
        assert theirs(running).infer({"state": seen[0]})["actions"].shape == (8, 4)
        for client, _ in results:
            client._ws.close()
    assert running.server.served.connections == 101


def test_a_message_too_large_is_not_read() -> None:
    with serving(largest_bytes=10_000) as running:
        client = theirs(running)
        client.infer({"state": np.zeros(4), "else": np.zeros(8_000, np.uint8)})
        with pytest.raises(websockets.ConnectionClosed) as caught:
            client.infer({"state": np.zeros(4), "else": np.zeros(50_000, np.uint8)})
        assert caught.value.rcvd is not None and caught.value.rcvd.code == 1009
        assert theirs(running).infer({"state": np.zeros(4)})["actions"].shape == (8, 4)
        until(lambda: any("10000 bytes" in line for line in running.lines))


def test_a_message_may_come_in_pieces() -> None:
    message = pack({**stamped(states(1)[0], 0), "else": np.zeros(300_000, np.uint8)})
    pieces = [message[i : i + 50_000] for i in range(0, len(message), 50_000)]
    with serving() as running, websockets.sync.client.connect(running.url) as raw:
        raw.recv()
        raw.send(pieces)
        answer = raw.recv()
        assert isinstance(answer, bytes)
        assert unpack(answer)["actions"].tobytes() == alone(STATES, states(1))[0].tobytes()


def test_a_client_that_reads_nothing_is_cut_off_and_the_others_are_served() -> None:
    long = make_spec(horizon=4000, n_obs_steps=2)  # 64 kB an answer
    with serving(long, send_s=0.3) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            upgrade = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            raw.sendall(f"GET / HTTP/1.1\r\n{upgrade}{key}\r\n".encode())
            body = pack({"state": np.zeros(4, np.float32)})
            frame = bytes([0x82, 0x80 | 126, *len(body).to_bytes(2, "big"), 0, 0, 0, 0]) + body
            raw.settimeout(0.05)
            stream, sent, deadline = frame * 100, 0, time.monotonic() + 60
            while not running.server.served.cut_off and time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError, ConnectionError):
                    sent = (sent + raw.send(stream[sent:])) % len(stream)
            other = theirs(running)
            assert other.infer({"state": np.zeros(4)})["actions"].shape == (4000, 4)
        assert running.server.served.cut_off == 1
        until(lambda: any("read no answer" in line for line in running.lines))


def test_strangers_are_not_let_in() -> None:
    with serving(token=TOKEN) as running:
        for options in ({}, {"api_key": "another"}, {"api_key": f"{TOKEN}0"}):
            with pytest.raises(websockets.InvalidStatus) as caught:
                theirs(running, **options)
            assert caught.value.response.status_code == 401
        assert theirs(running, api_key=TOKEN).infer({"state": np.zeros(4)})["actions"].any()
        with pytest.raises(websockets.InvalidStatus) as caught:
            websockets.sync.client.connect(
                running.url,
                origin=websockets.Origin("http://evil.example"),
                additional_headers={"Authorization": f"Api-Key {TOKEN}"},
            )
        assert caught.value.response.status_code == 403
        plain = http.client.HTTPConnection("127.0.0.1", running.port)
        plain.request("GET", "/healthz")
        assert plain.getresponse().read() == b"OK\n"
        plain.close()
    assert running.server.served.turned_away == 4
    assert not any(TOKEN in line for line in running.lines)


def test_with_a_certificate_it_speaks_tls_to_openpis_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "cert.pem"))
    with serving(tls=tls_of(TLS / "cert.pem", TLS / "key.pem")) as running:
        client = openpi_client().WebsocketClientPolicy("wss://localhost", running.port)
        assert client.infer({"state": np.zeros(4)})["actions"].shape == (8, 4)
        with pytest.raises(websockets.InvalidMessage):
            theirs(running)
        with (
            pytest.raises(ssl.SSLError),
            socket.create_connection(("127.0.0.1", running.port)) as raw,
        ):
            ssl.create_default_context(cafile=None).wrap_socket(raw, server_hostname="elsewhere")


def test_a_bug_keeps_its_trace_and_the_other_clients_their_server(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, broken = Inference.observe, brain(STATES)

    def observe(self: Inference, t_ns: int, seen: Any) -> None:
        if seen["state"][0] == 7:
            raise KeyError("a bug")
        real(self, t_ns, seen)

    monkeypatch.setattr(Inference, "observe", observe)
    with serving(inference=broken) as running:
        one, two = theirs(running), theirs(running)
        with pytest.raises(websockets.ConnectionClosed) as caught:
            one.infer({"state": np.full(4, 7)})
        assert caught.value.rcvd is not None and caught.value.rcvd.code == 1011
        assert two.infer({"state": np.zeros(4)})["actions"].shape == (8, 4)
    assert running.server.served.failures == 1 and "KeyError: 'a bug'" in capfd.readouterr().err


def test_ten_thousand_lines_about_clients_are_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    from ofp_edge.runtime.openpi.notes import Notes

    said: list[str] = []
    now = [0.0]
    notes = Notes(said.append, lambda: now[0])
    for i in range(10_000):
        now[0] = i / 5000
        notes.say(f"line {i}")
    notes.close()
    assert len(said) < 50 and any("lines more" in line for line in said)


def test_malformed_messages_leave_the_server_as_it_was() -> None:
    rng = np.random.default_rng(0)
    good = pack(stamped(states(1)[0], 0))
    wanted = alone(STATES, states(1))[0].tobytes()
    with serving() as running, websockets.sync.client.connect(running.url, max_size=None) as raw:
        unpack(raw.recv())
        for _ in range(150):
            bad = bytearray(good)
            for _ in range(int(rng.integers(1, 4))):
                bad[int(rng.integers(len(bad)))] = int(rng.integers(256))
            raw.send(bytes(bad[: int(rng.integers(len(bad) + 1))]))
            assert raw.recv()
        fresh = theirs(running)
        assert fresh.infer(stamped(states(1)[0], 0))["actions"].tobytes() == wanted
    assert running.server.served.failures == 0 and running.server.served.refused > 100


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.4", False), ("robot.local", False),
     ("", False)],
)  # fmt: skip
def test_which_addresses_are_this_machines_alone(host: str, alone: bool) -> None:
    assert loopback(host) == alone


def test_a_token_is_one_line_of_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert read_token(path) == TOKEN
    for text in ("short", "two words are no token", "öööööööööööööööööö", ""):
        path.write_text(text)
        with pytest.raises(OfpError, match="expected a token"):
            read_token(path)
    path.write_text(TOKEN)
    path.chmod(0o644)
    with pytest.raises(OfpError, match="chmod 600"):
        read_token(path)


def test_files_that_are_no_certificate_are_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    with pytest.raises(OfpError, match="no certificate"):
        tls_of(tmp_path / "x.pem", TLS / "key.pem")
    with pytest.raises(OfpError, match="belong together"):
        tls_of(TLS / "cert.pem", None)
    with pytest.raises(OfpError, match="does not exist"):
        tls_of(TLS / "cert.pem", tmp_path / "none.pem")
    assert tls_of(None, None) is None
