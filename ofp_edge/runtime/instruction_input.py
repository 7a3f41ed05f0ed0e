"""An input by which a run is told another instruction: a Unix datagram socket, never the stop's.

    echo -n "open the door" | socat - UNIX-SENDTO:/run/ofp-edge/instruction

The next plan that is ordered follows it, from a cold start. What is no instruction of the policy's
list changes nothing and is remarked.
"""

from __future__ import annotations

from collections.abc import Sequence

from ofp_edge.errors import UnknownName
from ofp_edge.fields.field import ObservationField
from ofp_edge.fields.text import told
from ofp_edge.runtime.datagrams import Datagrams

_LARGEST = 1024


class InstructionInput:
    """A reader of the socket that never waits, for one thread. fields: the policy's observations.

    refused: why the last message that was no instruction changed nothing; empty: there was none
    since it was last cleared. Raises RigError when the socket cannot be made.
    """

    def __init__(self, path: str, fields: Sequence[ObservationField]) -> None:
        self._fields = fields
        self.refused = ""
        self._datagrams = Datagrams(path, "instruction_socket")

    def read(self) -> str | None:
        """Return the newest instruction that was said since the last call, or None."""
        newest = None
        for message in self._datagrams.waiting(_LARGEST):
            text = message.decode("utf-8", "replace").strip(" \t\r\n\0")
            try:
                told(self._fields, text)
            except UnknownName as cause:
                self.refused = str(cause)
            else:
                newest = text
        return newest

    def close(self) -> None:
        """Take the socket away, unless another one lies there by now. Idempotent."""
        self._datagrams.close()
