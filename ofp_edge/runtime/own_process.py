"""Start the process that a device has to itself, at the other end of a socket."""

from __future__ import annotations

import socket
import subprocess
import sys

from ofp_edge.errors import OfpError


def start_process(
    python: str, module: str, theirs: socket.socket, ours: socket.socket, error: type[OfpError]
) -> subprocess.Popen[bytes]:
    """Run `python -m module FD`, FD being its end; this process's own handle of that end is closed.

    Raises `error`, one line, when the interpreter can't be started; then `ours` is closed too.
    """
    try:
        # Its stdout is our stderr: under --json our stdout carries one document and no more.
        return subprocess.Popen(
            [python, "-m", module, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,
        )
    except OSError as cause:
        ours.close()
        raise error(f"{python}: {cause.strerror}. Check python in the rig.") from None
    finally:
        theirs.close()
