"""The pictures of many requests -> one stream of full batches through the detector, and each result back to its request."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from threading import Condition, Thread

from centerkp.images.packed import PackedImage
from centerkp.inference.detect import detect
from centerkp.inference.detector import Detector
from centerkp.inference.image_result import ImageResult


@dataclass(eq=False)
class _Job:
    """The pictures of one request, in the worker's queue: what has been found in them, and where it is waited for."""

    pictures: Sequence[PackedImage]
    results: list[ImageResult] = field(default_factory=list)
    future: Future[list[ImageResult]] = field(default_factory=Future)


class Worker:
    """One thread that runs the detector on whatever waits; a context manager, whose end finishes what has been submitted.

    Nothing waits for a batch to become full: what has come while the network was busy is the next one. While more keeps coming,
    reading, the network and answering overlap as in `detect`, which also bounds the memory that pixels take.

    Args:
        batch_size: images per step of the network, at most.

    Raises:
        ValueError: a batch size below 1.
    """

    def __init__(self, detector: Detector, batch_size: int = 8):
        if batch_size < 1:
            raise ValueError(f"batch_size: found {batch_size}, expected at least 1.")
        self.detector, self.batch_size = detector, batch_size
        self._waiting: deque[_Job] = deque()
        self._news, self._closed = Condition(), False
        self._thread = Thread(target=self._work, name="centerkp worker")

    def __enter__(self) -> "Worker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join()

    def submit(self, pictures: Sequence[PackedImage]) -> Future[list[ImageResult]]:
        """Puts pictures into the worker's queue, at least one.

        Returns:
            What will hold a result for each, without pixels, or the detector's error. Cancelled before its turn has come, it
            costs nothing.
        """
        job = _Job(pictures)
        with self._news:
            if self._closed:
                raise RuntimeError("The worker has ended.")
            self._waiting.append(job)
            self._news.notify()
        return job.future

    def _work(self) -> None:
        """What the worker's thread does: a stream through the detector for as long as anything waits, again and again."""
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
            handed: deque[_Job] = deque()
            begun: list[_Job] = []
            try:
                for result in detect(self.detector, self._take(handed, begun), batch_size=self.batch_size):
                    job = handed.popleft()
                    job.results.append(replace(result, pixels=None))
                    if len(job.results) == len(job.pictures):
                        begun.remove(job)
                        job.future.set_result(job.results)
            except Exception as error:  # of the detector: who waits behind these may have more luck
                for job in begun:
                    job.future.set_exception(error)

    def _take(self, handed: deque[_Job], begun: list[_Job]) -> Iterator[PackedImage]:
        """The pictures that wait for the worker, until none does; notes whose each is, and which jobs have begun."""
        while True:
            with self._news:
                if not self._waiting:
                    return
                job = self._waiting.popleft()
            if not job.future.set_running_or_notify_cancel():
                continue
            begun.append(job)
            for picture in job.pictures:
                handed.append(job)
                yield picture
