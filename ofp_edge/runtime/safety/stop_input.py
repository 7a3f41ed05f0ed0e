"""An input to stop by: a Unix datagram socket, for a button, a pendant or another program.

    echo -n stop | socat - UNIX-SENDTO:/run/ofp-edge/stop

"stop" stops the run for good. With a silence limit the sender must send something else ("go") more
often than that, so that a cut cable stops the run too.
"""

from __future__ import annotations

from ofp_edge.runtime.datagrams import FLOOD, Datagrams

_LARGEST = 64


class StopInput:
    """A reader of the socket that never waits, for one thread. Raises RigError when the socket
    cannot be made."""

    def __init__(self, path: str, silence_ms: float | None = None) -> None:
        self._silence_ns = None if silence_ms is None else round(silence_ms * 1e6)
        self._heard_ns: int | None = None
        self._said = ""
        self._heard = False
        self._datagrams = Datagrams(path, "[safety] stop_socket")

    def read(self, now_ns: int) -> str:
        """Return why to stop, or nothing. Silence counts from the first call on."""
        if reason := self.said():
            return reason
        if self._heard_ns is None or self._heard:
            self._heard_ns, self._heard = now_ns, False
        silent_ns = now_ns - self._heard_ns
        if self._silence_ns is not None and silent_ns > self._silence_ns:
            return f"the stop input was silent for {silent_ns / 1e6:.0f} ms"
        return ""

    def said(self) -> str:
        """Return why to stop, silence apart, or nothing. It reads everything that waits, and a
        "stop" stays."""
        words = list(self._datagrams.waiting(_LARGEST))
        self._heard = self._heard or bool(words)
        for word in words:
            if word.strip(b" \t\r\n\0").lower().startswith(b"stop"):
                self._said = self._said or "the stop input said stop"
        if len(words) >= FLOOD:
            self._said = self._said or f"the stop input is flooded: {FLOOD} messages in one tick"
        return self._said

    def close(self) -> None:
        """Take the socket away, unless another one lies there by now. Idempotent."""
        self._datagrams.close()
