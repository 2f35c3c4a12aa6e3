"""How many bytes of pictures may be in memory at once; their sizes differ too much to count pictures."""

from threading import Condition


class Budget:
    """Bytes that threads take and give back. What is larger than all of it is let in alone, and so is never refused."""

    def __init__(self, total: int):
        self.total = total
        self._taken, self._closed, self._news = 0, False, Condition()

    def take(self, count: int) -> None:
        """Waits until so many bytes of pictures fit into the budget; not at all when it is closed."""
        with self._news:
            self._news.wait_for(lambda: self._closed or not self._taken or self._taken + count <= self.total)
            self._taken += count

    def give_back(self, count: int) -> None:
        """Returns bytes of pictures to the budget, and lets others in."""
        with self._news:
            self._taken -= count
            self._news.notify_all()

    def close(self) -> None:
        """Ends all waiting for bytes of the budget."""
        with self._news:
            self._closed = True
            self._news.notify_all()
