"""Serve a bundle to openpi's clients: one engine, one thread that computes, any number of streams.

    event loop: accept, read, write       engine's thread: unpack, prepare, encode, act, pack
      connection 1 --- message ----------> one at a time, in the order in which they came
      connection 2 --- message ----------> (queued: at most one a connection)
                   <--------- answer ----

A connection's next message is read when its last one is answered, so memory is bounded by the
number of connections and the size of a message, whatever clients send or do not read.
"""

from __future__ import annotations

import asyncio
import hmac
import http
import logging
import ssl
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ofp_edge.errors import OfpError
from ofp_edge.extras import require
from ofp_edge.runtime.infer.beyond import WHAT
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.openpi.inputs import Inputs
from ofp_edge.runtime.openpi.notes import Notes
from ofp_edge.runtime.openpi.packing import pack, unpack
from ofp_edge.runtime.openpi.stream import Stream
from ofp_edge.runtime.remarks import Listener
from ofp_edge.runtime.samples import Samples

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

T = TypeVar("T")
_BROKEN, _GOING, _LATER = 1011, 1001, 1013  # close codes of RFC 6455
_NOTHING_AHEAD = 0, 0  # of a client's next message is read beyond the one that is answered
_SEND_S, _PING_S, _PONG_S = 10.0, 20.0, 60.0


@dataclass(frozen=True)
class Door:
    """Where a server listens, and whom it lets in. token: None lets everyone in. connections, and
    largest_bytes of a message, bound its memory. send_s: a client that does not read an answer for
    so long is cut off."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    tls: ssl.SSLContext | None = None
    connections: int = 32
    largest_bytes: int = 16 << 20
    send_s: float = _SEND_S


@dataclass
class Served:
    """What a server has done. refused: messages answered with a line; turned_away: connections that
    were not let in; cut_off: clients that read too slowly; failures: bugs of ours."""

    connections: int = 0
    turned_away: int = 0
    answers: int = 0
    refused: int = 0
    cut_off: int = 0
    failures: int = 0
    latency_ns: Samples = field(default_factory=Samples)


class PolicyServer:
    """Serves until `stop` is set. inference: warm; each client gets another stream over its
    engines, seeded alike. metadata: what a client is told first. Raises MissingExtra."""

    def __init__(
        self,
        inference: Inference,
        inputs: Inputs,
        metadata: dict[str, Any],
        door: Door,
        seed: int | Sequence[int] = 0,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._websockets = require("websockets", "serve")
        require("websockets.asyncio.server", "serve")
        self._inference, self._inputs, self._door, self._seed = inference, inputs, door, seed
        self._greeting = pack(metadata)
        self._notes = Notes(tell)
        self.served = Served()
        self._open, self._full = 0, f"{door.connections} connections are open already"
        self._engine = ThreadPoolExecutor(1, "engine")

    async def run(self, stop: asyncio.Event, ready: Callable[[int], None]) -> None:
        """Listen, say on which port, and serve. Raises OfpError where nothing can listen there."""
        door = self._door
        logger = logging.getLogger("ofp_edge.websockets")
        logger.propagate = False  # it would print a trace for every client that goes away
        logger.addHandler(logging.NullHandler())
        server = self._websockets.asyncio.server.serve(
            self._handle,
            door.host,
            door.port,
            ssl=door.tls,
            process_request=self._let_in,
            compression=None,
            server_header=None,
            max_size=door.largest_bytes,
            max_queue=_NOTHING_AHEAD,
            ping_interval=_PING_S,
            ping_timeout=_PONG_S,
            logger=logger,
        )
        try:
            listening = await server
        except OSError as cause:
            raise OfpError(
                f"{door.host}, port {door.port}: {cause.strerror or cause}. Give another --host or "
                "--port."
            ) from None
        try:
            ready(listening.sockets[0].getsockname()[1])
            await stop.wait()
        finally:
            listening.close()
            await listening.wait_closed()
            self._engine.shutdown()
            self._notes.close()

    def _let_in(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        status, why = self._refused(request)
        if status is None:
            return None
        self.served.turned_away += 1
        self._notes.say(f"{_peer(connection)}: not let in: {why}")
        return connection.respond(status, f"{why}\n")

    def _refused(self, request: Request) -> tuple[http.HTTPStatus | None, str]:
        if request.headers.get_all("Origin"):
            return http.HTTPStatus.FORBIDDEN, "a page in a browser is no robot"
        if self._door.token is not None:
            said = " ".join(request.headers.get_all("Authorization"))
            wanted = f"Api-Key {self._door.token}"
            if not hmac.compare_digest(said.encode("utf-8", "replace"), wanted.encode()):
                return http.HTTPStatus.UNAUTHORIZED, "no token, or another one (api_key)"
        if self._open >= self._door.connections:
            return http.HTTPStatus.SERVICE_UNAVAILABLE, self._full
        return None, ""

    async def _handle(self, socket: ServerConnection) -> None:
        self._open += 1
        try:
            if self._open > self._door.connections:  # several were let in at once
                self.served.turned_away += 1
                await socket.close(_LATER, self._full)
            else:
                await self._serve(socket)
        finally:
            self._open -= 1

    async def _serve(self, socket: ServerConnection) -> None:
        self.served.connections += 1
        who, answers, refused, why = _peer(socket), 0, 0, ""
        closed = self._websockets.exceptions.ConnectionClosed
        try:
            stream = await self._compute(self._new_stream, self._teller(who))
            await self._send(socket, self._greeting)
            before_ns: int | None = None
            while True:
                message = await socket.recv()
                came_ns = time.monotonic_ns()
                answer = await self._compute(self._answer, stream, message, came_ns, before_ns)
                del message
                await self._send(socket, answer)
                before_ns = time.monotonic_ns() - came_ns
                if isinstance(answer, str):
                    refused += 1
                    self._notes.say(f"{who}: {answer}")
                else:
                    answers += 1
                    self.served.latency_ns.add(before_ns)
        except closed as cause:
            if cause.sent is not None and cause.sent.code not in (1000, 1005, _GOING):
                why = f": {cause.sent.reason or cause.sent.code}"
        except asyncio.TimeoutError:
            self.served.cut_off += 1
            why = f": it read no answer for {self._door.send_s:g} s"
            socket.transport.abort()
        except Exception:
            self.served.failures += 1
            traceback.print_exc()  # a bug keeps its trace, and the other clients their server
            await socket.close(_BROKEN, "a bug of the server's: see its terminal")
        finally:
            self.served.answers += answers
            self.served.refused += refused
            self._notes.say(f"{who}: gone after {answers} answers, {refused} refused{why}")

    def _new_stream(self, tell: Listener) -> Stream:
        inference = self._inference.another(self._seed)
        inference.beyond.remarks.listen(tell)
        return Stream(inference, self._inputs)

    def _teller(self, who: str) -> Listener:
        loop = asyncio.get_running_loop()  # notes are its thread's, streams the engine's

        def tell(what: str, detail: str) -> None:
            loop.call_soon_threadsafe(self._notes.say, f"{who}: {WHAT}: {detail}")

        return tell

    def _answer(
        self, stream: Stream, message: bytes | str, came_ns: int, before_ns: int | None
    ) -> bytes | str:
        """The answer; a text where there is none, as openpi's server says what went wrong."""
        try:
            answer = stream.answer(unpack(message), came_ns)
        except OfpError as cause:
            return str(cause)
        timing = {"infer_ms": (time.monotonic_ns() - came_ns) / 1e6}
        if before_ns is not None:
            timing["prev_total_ms"] = before_ns / 1e6
        return pack({**answer, "server_timing": timing})

    def _compute(self, work: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._engine, work, *arguments)

    async def _send(self, socket: ServerConnection, message: bytes | str) -> None:
        if sys.version_info < (3, 11):
            await asyncio.wait_for(socket.send(message), self._door.send_s)
        else:  # without a task of its own for each answer
            async with asyncio.timeout(self._door.send_s):
                await socket.send(message)


def _peer(socket: ServerConnection) -> str:
    address = socket.remote_address
    return f"{address[0]}:{address[1]}" if address else "a client"
