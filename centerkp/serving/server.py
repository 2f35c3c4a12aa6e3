"""A socket and a detector -> a server that runs until it is told to end."""

import errno
import os
import socket
from collections.abc import Iterable
from ipaddress import ip_address

import numpy as np
import uvicorn
from rich.console import Console

from centerkp.inference.detect import detect
from centerkp.inference.detector import Detector
from centerkp.serving.app import make_app
from centerkp.serving.guard import Guard
from centerkp.serving.limits import Limits
from centerkp.serving.worker import Worker
from centerkp.wording import count_of

PATIENCE = 30  # seconds in which what is in work is finished after a signal


def open_socket(host: str, port: int) -> socket.socket:
    """A socket for a server, which browsers can already reach; port 0 is any free one.

    Raises:
        ValueError: the port is taken or none, or the host is no address of this machine.
    """
    try:
        if not 0 <= port <= 0xFFFF:  # of which the system's own error leaves a socket open
            raise OSError(errno.EINVAL, "no port")
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # Connections have it from here. Without it the part of an answer behind its first packet waits some 40 ms until the
        # client has acknowledged that; asyncio sets it on sockets that say they are TCP, which this one does not.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        # A name that leads nowhere has numbers of its own, and what the system says of an address may name it once more.
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise ValueError(
            f"{host}, port {port}: could not be opened ({why}), expected an address of this machine and a free port; name "
            "others with --host and --port, 0 for any."
        ) from None


def is_local(host: str) -> bool:
    """Whether only this machine reaches a server at that host."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    detector: Detector,
    name: str,
    listening: socket.socket,
    *,
    batch_size: int = 8,
    min_score: float | None = None,
    limits: Limits | None = None,
    hosts: Iterable[str] = (),
    console: Console,
) -> None:
    """Serves a detector until Ctrl-C or SIGTERM, then finishes what is in work, `PATIENCE` seconds at most.

    Args:
        name: what the model is called.
        listening: see `open_socket`; closed at the end.
        min_score, limits, hosts: see `make_app`.

    Raises:
        ValueError: wrong numbers.
        KeyboardInterrupt: another signal, at which everything ends at once.
    """
    worker = Worker(detector, batch_size)
    app, service = make_app(worker, name, limits=limits, min_score=min_score, hosts=hosts)
    # Networks are traced and memory is taken at the first picture, which is nobody's.
    width, height = detector.image_size
    list(detect(detector, [np.zeros((height, width, 3), np.uint8)], batch_size=batch_size))
    server = make_server(app)
    console.print(service.least.sentence, soft_wrap=True)
    found = f"{name}, {count_of(detector.schema.num_classes, 'class')}"
    console.print(f"{found}, is at {describe_address(listening)} (Ctrl-C ends it)", soft_wrap=True)
    with worker:
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:  # which it passes on when it has ended
            if not server.should_exit:
                raise
    console.print(f"ended; {count_of(service.pictures, 'picture')} answered")


def make_server(app: Guard) -> uvicorn.Server:
    """The server around an application, which says nothing but what goes wrong."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=PATIENCE,
    )
    return uvicorn.Server(config)


def describe_address(listening: socket.socket) -> str:
    """Where a browser finds the server."""
    host, port = listening.getsockname()[:2]
    name = socket.gethostname() if ip_address(host).is_unspecified else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"
