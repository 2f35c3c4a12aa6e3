"""What processes that train together tell each other, and how each learns that another has died.

Every process holds a connection to process 0. A thread reads from each, so that the end of a process, which the system reports
by closing its connections, is seen while the training hangs in a step that would wait for it for ever.
"""

import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from queue import SimpleQueue
from typing import Any

import numpy as np

DIGITS = 32  # bytes of the key without which nobody is listened to
SILENCE = 30  # seconds without a sign of life of a machine that has lost its power or its network
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 1000 * SILENCE}
_GOODBYE, _LOST, _VALUE = "goodbye", "lost", "value"


class Line:
    """The connections of a process: to process 0, or as process 0 to all others.

    Args:
        machine: that of process 0, as the others reach it.
        publish: gives every process the bytes that process 0 has.
    """

    def __init__(self, index: int, count: int, machine: str, publish: Callable[[bytes], bytes]) -> None:
        self.index, self.count = index, count
        self._inboxes: dict[int, SimpleQueue] = {}
        self._connections: dict[int, Connection] = {}
        self._sockets: list[socket.socket] = []
        self._is_closed = False
        if index == 0:
            key = secrets.token_bytes(DIGITS)
            with Listener(("", 0), backlog=count, authkey=key) as listener:
                publish(_pack(machine, listener.address[1], key))
                while len(self._connections) < count - 1:
                    with suppress(AuthenticationError, OSError, EOFError):  # of somebody else, who has not the key
                        connection = listener.accept()
                        self._hold(connection.recv(), connection)
        else:
            machine, port, key = _unpack(publish(bytes(256)))
            connection = Client((machine, port), authkey=key)
            connection.send(index)
            self._hold(0, connection)

    def _hold(self, other: int, connection: Connection) -> None:
        """Keeps the connection to another process, and reads from it from now on."""
        own = socket.socket(fileno=os.dup(connection.fileno()))
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # elsewhere than on Linux some are missing, and the system's own hold
                own.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._sockets.append(own)
        self._inboxes[other], self._connections[other] = SimpleQueue(), connection
        threading.Thread(target=self._read, args=(other,), daemon=True).start()

    def _read(self, other: int) -> None:
        """Takes what another process says, until it says goodbye; ends this process when it is gone without."""
        try:
            while (message := self._connections[other].recv())[0] != _GOODBYE:
                kind, value = message
                if kind == _LOST:
                    self._end(value)
                self._inboxes[other].put(value)
        except (EOFError, OSError):
            self._end(other)

    def _end(self, other: int) -> None:
        """Says that a process is gone, also to the others, and ends this one: its step would wait for ever."""
        if self._is_closed:
            return
        self._is_closed = True
        for one in self._connections:
            if one != other:
                self._send(one, (_LOST, other))
        sys.stdout.flush()
        print(
            f"\nerror: process {self.index} of {self.count}: found process {other} gone, expected all to the end; its own "
            "output says why, then start all again with --resume.",
            file=sys.stderr,
            flush=True,
        )
        if not self.index:
            time.sleep(1)  # in which the others read it, whom JAX ends by a trace of its own once process 0 has left
        os._exit(2)

    def _send(self, other: int, message: tuple) -> None:
        """Sends to another process; the thread that reads from it notices where that has ended."""
        with suppress(OSError):
            self._connections[other].send(message)

    def tell(self, value: Any = None) -> Any:
        """Gives every process the value that process 0 has."""
        if self.index:
            return self._inboxes[0].get()
        for other in self._connections:
            self._send(other, (_VALUE, value))
        return value

    def gather(self, value: Any) -> list[Any]:
        """Gives every process the values of all, in their order."""
        if self.index:
            self._send(0, (_VALUE, value))
            return self.tell()
        return self.tell([value, *(self._inboxes[other].get() for other in range(1, self.count))])

    def close(self) -> None:
        """Says goodbye, after which nobody minds that this process ends."""
        self._is_closed = True
        for other in self._connections:
            self._send(other, (_GOODBYE,))

    def abandon(self) -> None:
        """Closes the connections of a process that ends by an error, which ends the others."""
        self._is_closed = True
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _pack(machine: str, port: int, key: bytes) -> bytes:
    """Where process 0 listens, and the key to it, in 256 bytes."""
    return (f"{machine}:{port}:".encode() + key.hex().encode()).ljust(256)


def _unpack(text: bytes) -> tuple[str, int, bytes]:
    """Where process 0 listens, and the key to it."""
    machine, port, key = text.decode().strip().rsplit(":", 2)
    return machine, int(port), bytes.fromhex(key)


def publish(content: bytes) -> bytes:
    """Gives every process the bytes of process 0, over the devices: what JAX has before there is a line."""
    from jax.experimental import multihost_utils

    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(np.frombuffer(content, np.uint8))))
