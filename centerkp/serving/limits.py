"""What a server takes at most, and the refusal of what is more."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MEMORY = 1 << 30  # bytes of the requests that are inside, all together
LONGEST = 60  # seconds after which somebody may be asked to come again


class Refusal(Exception):
    """Why a request gets no result: the status code of HTTP, a sentence, and after how many seconds it may be repeated."""

    def __init__(self, status: int, sentence: str, retry_after: int | None = None):
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after


@dataclass(frozen=True)
class Limits:
    """What a server takes at most.

    Args:
        megabytes: of a request's body, 1 MB = 10^6 bytes.
        megapixels: of one picture.
        pictures: in one request.
        waiting: requests that are being received, wait, or are in work.
        seconds: in which a request's body has to have arrived.

    Raises:
        ValueError: one is not above 0, or without end.
    """

    megabytes: float = 64
    megapixels: float = 64
    pictures: int = 64
    waiting: int = 128
    seconds: float = 60

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < float("inf"):  # which no JSON can say to those who ask for the limits
                raise ValueError(f"--max-{name}: found {value:g}, expected more than 0, and not without end.")

    @property
    def bytes(self) -> int:
        """Of a request's body, at most."""
        return int(self.megabytes * 1e6)


class Door:
    """Who is inside of a server: how many requests, and how many bytes of them. Used by one thread only."""

    def __init__(self, limits: Limits):
        self.limits, self.requests, self.bytes = limits, 0, 0
        self.took = 0.0  # seconds, by the last one that was answered

    @contextmanager
    def let_in(self) -> Iterator["Visit"]:
        """A request's stay inside of the door.

        Raises:
            Refusal: there are as many as may be (503).
        """
        if self.requests >= self.limits.waiting:
            raise self.refuse()
        self.requests += 1
        visit = Visit(self)
        try:
            yield visit
        finally:
            self.requests -= 1
            self.bytes -= visit.bytes

    def refuse(self) -> Refusal:
        """What is said to those for whom there is no room behind the door."""
        sentence = f"found {self.requests} requests waiting, expected at most {self.limits.waiting}; try again later."
        if self.requests < self.limits.waiting:
            sentence = f"found no memory for more requests beside the {self.requests} that wait; try again later."
        return Refusal(503, sentence, retry_after=max(1, min(round(self.took), LONGEST)))


class Visit:
    """One request inside of a door: the bytes that it has brought."""

    def __init__(self, door: Door):
        self._door, self.bytes = door, 0

    def bring(self, count: int) -> None:
        """Counts more bytes of the request.

        Raises:
            Refusal: they are more than a request may have (413), or than there is memory for beside the others (503).
        """
        self.bytes += count
        self._door.bytes += count
        if self.bytes > self._door.limits.bytes:
            raise too_large(self._door.limits, f"more than {self._door.limits.megabytes:g} MB")
        if self._door.bytes > MEMORY and self._door.requests > 1:
            raise self._door.refuse()


def too_large(limits: Limits, found: str) -> Refusal:
    """The refusal of a request whose body exceeds the limits."""
    return Refusal(
        413,
        f"request: found {found}, expected at most {limits.megabytes:g} MB; send fewer pictures at once, or smaller ones.",
    )
