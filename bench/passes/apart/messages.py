"""Objects over a socket between two processes of one machine.

The memory of arrays goes from the array into the socket and out of it into a new array, in calls that hold no
interpreter's lock: a thread that sends or receives a photograph takes the lock from the model's thread for moments.
"""

from __future__ import annotations

import contextlib
import pickle
import select
import socket
import struct
from typing import Any

import numpy as np

_HEAD = struct.Struct("<2Q")  # the number of buffers, and the bytes of all that follows

_ALIGNMENT = 16
"""Each buffer begins at a multiple of so many bytes, as numpy likes its arrays."""


class Messages:
    """One end of a socket whose other end, in another process, is one too."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(True)  # a library may have set a time limit for all new sockets
        self._socket = end
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)

    def send(self, value: Any) -> None:
        """Send an object that can be pickled; it waits while the other end has not taken what was sent before.

        Raises:
            ConnectionError: the other end is closed.
        """
        buffers: list[pickle.PickleBuffer] = []
        body = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        memory = [buffer.raw() for buffer in buffers]
        sizes = [len(body), *(view.nbytes for view in memory)]
        lengths = struct.pack(f"<{len(sizes)}Q", *sizes)
        total = _aligned(len(lengths)) + sum(map(_aligned, sizes))
        first = _HEAD.pack(len(memory), total) + _padded(lengths) + _padded(body)
        self._socket.sendall(first)
        for view in memory:
            self._socket.sendall(view)
            if gap := _aligned(view.nbytes) - view.nbytes:
                self._socket.sendall(bytes(gap))

    def receive(self) -> Any:
        """Give the next object; its arrays can be written.

        Raises:
            EOFError, ConnectionError: the other end is closed.
        """
        number, total = _HEAD.unpack(self._exactly(_HEAD.size))
        memory = self._exactly(total)  # all at once: each call may have to wait for the interpreter's lock
        parts, place = [], _aligned(8 * (number + 1))
        for length in struct.unpack_from(f"<{number + 1}Q", memory):
            parts.append(memory[place : place + length])
            place += _aligned(length)
        return pickle.loads(parts[0], buffers=parts[1:])

    def waiting(self) -> bool:
        """Tell whether something has come, or the other end is closed."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Tell the other end that nothing follows, also where a forked process still holds this end."""
        with contextlib.suppress(OSError):  # the other end has gone
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _exactly(self, size: int) -> memoryview:
        """Give the next bytes, in new memory."""
        # A bytearray would be filled with zeros first, under the interpreter's lock.
        view: memoryview = np.empty(size, np.uint8).data
        done = 0
        while done < size:
            taken = self._socket.recv_into(view[done:], size - done, socket.MSG_WAITALL)
            if not taken:
                raise EOFError("the other end is closed")
            done += taken
        return view


def _aligned(size: int) -> int:
    return size + -size % _ALIGNMENT


def _padded(content: bytes) -> bytes:
    return content.ljust(_aligned(len(content)), b"\0")
