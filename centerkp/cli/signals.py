"""What ends a process from outside: SIGTERM of schedulers and SIGHUP of closed terminals are what Ctrl-C is."""

import math
import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader
from threading import Timer, current_thread, main_thread
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP

SOON = 0.2  # seconds until a signal is sent once more
PATIENCE = 10  # seconds in which files are completed: terminals and schedulers often send a signal twice


class Interrupted(KeyboardInterrupt):
    """Ends a command as Ctrl-C does, with the exit code that shells give the signal."""

    def __init__(self, number: int):
        super().__init__()
        self.exit_code = 128 + number


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise `Interrupted` in the main thread, so that files are completed or cleared away."""
    former, last = {}, -math.inf

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if _in_extension_import(frame):
            Timer(SOON, os.kill, (os.getpid(), number)).start()
            return
        since, last = time.monotonic() - last, time.monotonic()
        if since < PATIENCE:
            return
        if number != signal.SIGTERM:
            _leave_terminal()
        raise Interrupted(number)

    if current_thread() is main_thread():  # no other takes signals
        for number in SIGNALS:
            if signal.getsignal(number) == signal.SIG_DFL:  # nohup makes a process deaf to SIGHUP, and it stays so
                former[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _in_extension_import(frame: FrameType | None) -> bool:
    """Whether a library in C++ is just being loaded: an exception in there can abort the process, with nothing cleared away."""
    while frame is not None:
        loads = frame.f_code.co_name in ("create_module", "exec_module")
        if loads and isinstance(frame.f_locals.get("self"), ExtensionFileLoader):
            return True
        frame = frame.f_back
    return False


def _leave_terminal() -> None:
    """After SIGHUP, what is still to be said goes nowhere: writing to a terminal that was closed raises errors."""
    with open(os.devnull, "w") as nowhere:
        for stream in (1, 2):
            if stat.S_ISCHR(os.fstat(stream).st_mode):
                os.dup2(nowhere.fileno(), stream)
