"""Ctrl-C and the signals by which schedulers and terminals end a process, held back until what a step made can be saved."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP


class Interruption:
    """A context in which these signals are only noted, in `signal`; at its end they do what they would have done.

    A second Ctrl-C does not wait. Outside the main thread, which alone can take signals, nothing is held back.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._raises = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if current_thread() is main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # nohup and scripts make processes deaf to them
                    self._former[number] = signal.signal(number, self._note_signal)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        if self.signal is not None:
            signal.raise_signal(self.signal)

    def _note_signal(self, number: int, frame: Any) -> None:
        """Notes a signal until a step can be saved; raises KeyboardInterrupt at once where asked, or at a second Ctrl-C."""
        again = self.signal is not None and number == signal.SIGINT
        self.signal = self.signal or number
        if self._raises or again:
            self._raises = False
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, where no step is to be saved, a signal such as Ctrl-C raises KeyboardInterrupt wherever it hits."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self._raises = True
        try:
            yield
        finally:
            self._raises = False
