"""Gives every frame of a written MP4 its own time, which OpenCV's writer, knowing one rate alone, cannot."""

import os
import struct
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

# Of a second: whole numbers for all usual rates, 30000/1001 too. The coarser ones are for more than 1 and 19 hours, since 32
# bits count the ticks of a video.
TICKS = (600_000, 60_000, 1000)
_CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")


def set_frame_times(path: Path, seconds: Sequence[float], last: float) -> None:
    """Writes the times of its frames into an MP4 of one video track whose index stands at its end, as OpenCV writes it.

    The format and its boxes: ISO/IEC 14496-12.

    Args:
        seconds: when each frame begins, the first at 0, rising.
        last: how long the last one is shown.

    Raises:
        ValueError: the file has another form.
    """
    end = seconds[-1] + last
    ticks = next((ticks for ticks in TICKS if end * ticks < 1 << 32), TICKS[-1])
    starts = [round(ticks * time) for time in (*seconds, end)]
    durations = [after - before for before, after in zip(starts, starts[1:], strict=False)]
    with open(path, "r+b") as file:
        place = _find_index(file.read, file.seek, os.path.getsize(path))
        file.seek(place)
        moov = file.read()
        size = int.from_bytes(moov[:4], "big")
        timed = _rewrite(moov[:size], durations, ticks, end)
        file.seek(place)
        file.write(timed + moov[size:])


def _find_index(read: Callable[[int], bytes], seek: Callable[[int], int], length: int) -> int:
    """Where the index of an MP4's frames begins, which must stand behind the frames that it counts."""
    place, is_behind = 0, False
    while place + 8 <= length:
        seek(place)
        start = read(16)
        size, kind = int.from_bytes(start[:4], "big"), start[4:8]
        if kind == b"moov" and is_behind:
            return place
        is_behind |= kind == b"mdat"
        place += int.from_bytes(start[8:], "big") if size == 1 else max(size, 8)
    raise ValueError("found no index of frames behind them, expected an MP4 as OpenCV writes it")


def _rewrite(box: bytes, durations: Sequence[int], ticks: int, end: float) -> bytes:
    """A box of an MP4 with all that it says of times, its own and its inner boxes', by the durations of the frames."""
    kind, body = box[4:8], bytearray(box[8:])
    if kind in _CONTAINERS:
        inner, place = b"", 0
        while place < len(body):
            size = max(int.from_bytes(body[place : place + 4], "big"), 8)
            inner += _rewrite(bytes(body[place : place + size]), durations, ticks, end)
            place += size
        body = bytearray(inner)
    elif kind == b"stts":
        runs = [(len(list(same)), duration) for duration, same in groupby(durations)]
        body = bytearray(struct.pack(">II", 0, len(runs)) + b"".join(struct.pack(">II", *run) for run in runs))
    elif kind == b"mdhd":
        struct.pack_into(">II", body, 12, ticks, sum(durations))
    elif kind == b"mvhd":  # counts the ticks of all tracks, of which there are 1000 a second
        struct.pack_into(">II", body, 12, 1000, round(1000 * end))
    elif kind == b"tkhd":
        struct.pack_into(">I", body, 20, round(1000 * end))
    elif kind == b"elst":
        struct.pack_into(">I", body, 8, round(1000 * end))
    return struct.pack(">I4s", 8 + len(body), kind) + bytes(body)
