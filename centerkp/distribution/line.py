"""What processes that train together tell each other, and how each learns that another has died.

Every process holds a connection to process 0. A thread reads from each, so that the end of a process, which the system reports
by closing its connections, is seen while the training hangs in a step that would wait for it for ever; and so is the silence of
one that is stopped, or that has no network.
"""

import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import Any

import numpy as np

DIGITS = 32  # bytes of the key without which nobody is listened to
BEAT = 5  # seconds between signs of life, by which one is missed that is stopped, or has lost its power or its network
SILENCE = 40  # seconds without one
FAREWELL = 10  # seconds in which the others are waited for at the end
PIECE = 1 << 20  # bytes that are sent at once
_GOODBYE, _LOST, _BEAT, _PIECE, _VALUE = b"g", b"l", b"", b"p", b"v"


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
        self._locks: dict[int, threading.Lock] = {}  # of sending
        self._silent: dict[int, int] = {}  # seconds since a sign of life
        self._sockets: list[socket.socket] = []
        self._readers: list[threading.Thread] = []
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
        for work in (self._beat, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def _hold(self, other: int, connection: Connection) -> None:
        """Keeps the connection to another process, and reads from it from now on."""
        own = socket.socket(fileno=os.dup(connection.fileno()))
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets.append(own)
        self._inboxes[other], self._connections[other] = SimpleQueue(), connection
        self._locks[other], self._silent[other] = threading.Lock(), 0
        self._readers.append(threading.Thread(target=self._read, args=(other,), daemon=True))
        self._readers[-1].start()

    def _read(self, other: int) -> None:
        """Takes what another process says, until it says goodbye; ends this process when it is gone without."""
        value = bytearray()
        try:
            while (message := self._connections[other].recv_bytes())[:1] != _GOODBYE:
                self._silent[other] = 0
                kind, content = message[:1], message[1:]
                if kind == _LOST:
                    self._end(*content.decode().split(" ", 1))
                value += content
                if kind == _VALUE:
                    self._inboxes[other].put(value)
                    value = bytearray()
            del self._silent[other]
        except (EOFError, OSError):
            self._end(other, "gone")

    def _beat(self) -> None:
        """Gives the others a sign of life again and again; who is being sent to has one."""
        while not self._is_closed:
            for other, lock in self._locks.items():
                if lock.acquire(blocking=False):
                    with suppress(OSError):
                        self._connections[other].send_bytes(_BEAT)
                    lock.release()
            time.sleep(BEAT)

    def _watch(self) -> None:
        """Ends this process when another is silent. Seconds in which this one has not run itself do not count."""
        while not self._is_closed:
            time.sleep(1)
            for other in list(self._silent):
                self._silent[other] = self._silent.get(other, 0) + 1
                if self._silent[other] > SILENCE:
                    self._end(other, f"silent for {SILENCE} s")

    def _end(self, other: int | str, how: str) -> None:
        """Says what has become of a process, also to the others, and ends this one: its step would wait for ever."""
        if self._is_closed:
            return
        self._is_closed = True
        for one in self._connections:
            if one != int(other):
                self._send(one, _LOST, f"{other} {how}".encode())
        sys.stdout.flush()
        print(
            f"\nerror: process {self.index} of {self.count}: found process {other} {how}, expected all to the end; its own "
            "output says why, then start all again with --resume.",
            file=sys.stderr,
            flush=True,
        )
        if not self.index:
            time.sleep(1)  # in which the others read it
        os._exit(2)

    def _send(self, other: int, kind: bytes, content: bytes | memoryview = b"") -> None:
        """Sends to another process, in pieces; the threads that listen to it notice where that has ended."""
        if not self._locks[other].acquire(timeout=-1 if kind == _VALUE else 1):  # of one that nothing is to be told any more
            return
        with suppress(OSError):
            while len(content) > PIECE:
                self._connections[other].send_bytes(_PIECE + content[:PIECE])
                content = content[PIECE:]
            self._connections[other].send_bytes(kind + content)
        self._locks[other].release()

    def _take(self, other: int) -> Any:
        """The next value that another process has sent; waits for it."""
        return ForkingPickler.loads(self._inboxes[other].get())  # as `Connection.recv` does

    def tell(self, value: Any = None) -> Any:
        """Gives every process the value that process 0 has."""
        if self.index:
            return self._take(0)
        packed = _pack_value(value)
        for other in self._connections:
            self._send(other, _VALUE, packed)
        return value

    def gather(self, value: Any) -> list[Any]:
        """Gives every process the values of all, in their order."""
        if self.index:
            self._send(0, _VALUE, _pack_value(value))
            return self.tell()
        return self.tell([value, *(self._take(other) for other in range(1, self.count))])

    def close(self) -> None:
        """Says goodbye, after which nobody minds that this process ends; waits for the goodbyes of the others.

        A process that ended with something unread would reset its connections, and what the others have not read yet is lost.
        """
        self._is_closed = True
        for other in self._connections:
            self._send(other, _GOODBYE)
        until = time.monotonic() + FAREWELL
        for reader in self._readers:
            reader.join(max(until - time.monotonic(), 0))

    def abandon(self) -> None:
        """Closes the connections of a process that ends by an error, which ends the others."""
        self._is_closed = True
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Pieces(BytesIO):
    """Takes what is packed piece by piece, between which other threads come to run: a list of all images takes long."""

    def write(self, data: Any) -> int:
        return super().write(data)


def _pack_value(value: Any) -> memoryview:
    """The bytes of a value that another process is told, as `Connection.send` makes them."""
    packed = _Pieces()
    ForkingPickler(packed).dump(value)
    return packed.getbuffer()


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
