"""Carries what JAX tells process 0, and keeps the end of process 0 from JAX: a program of its own, which needs nothing else.

    python relay.py HOST PORT      says on which port of this machine it listens, and ends when its stdin does

JAX aborts a process by a trace as soon as its connection to process 0 closes. Through this program it stays open, so that it is
`line` which notices what has happened, and says so.
"""

import os
import signal
import socket
import sys
import threading
from contextlib import suppress


def serve(near: socket.socket, address: tuple[str, int]) -> None:
    """Carries bytes between a connection of JAX's and one to process 0, until JAX closes its own."""
    try:
        far = socket.create_connection(address)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # messages go on as they come
    except OSError:  # not there yet: JAX tries again
        near.close()
        return
    threading.Thread(target=carry, args=(far, near), daemon=True).start()
    carry(near, far)
    for one in (far, near):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)  # which close alone does not, while the other thread waits in it
        one.close()


def carry(source: socket.socket, sink: socket.socket) -> None:
    """Carries bytes one way until there are no more; those that nobody takes are dropped."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            with suppress(OSError):
                sink.sendall(data)


def main(host: str, port: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # which a run saves after, and which all of its group may get
        signal.signal(number, signal.SIG_IGN)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # of its connections

    def accept() -> None:
        while True:
            near = listener.accept()[0]
            threading.Thread(target=serve, args=(near, (host.strip("[]"), int(port))), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
