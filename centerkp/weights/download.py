"""Fetching the zoo's archives: resumable, under a temporary name, and the same bytes as the first time."""

import errno
import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from centerkp.weights.pace import Pace, TooSlow, open_at_pace, read_length
from centerkp.writing import replacing

TIMEOUT = 30  # seconds without a byte
GRACE = 120  # seconds in all, and one more for each 10 kB
_CHUNK = 1 << 20


def download(url: str, part: Path, console: Console) -> None:
    """Downloads `url` into `part`, from where an earlier attempt left off.

    A broken connection is taken up again while it gets further.
    A server that cannot resume sends the whole file again. What has arrived stays in `part` when the connection fails for good.

    Raises:
        ConnectionError: not everything arrived; says why.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    columns = TextColumn("{task.description}"), BarColumn(24), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    # Without a terminal every redrawing would be a line of its own.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(part.stem, total=None)
        pace = Pace(TIMEOUT, GRACE)  # of all attempts: one that ends after every byte would go on for ever
        while True:
            before = _downloaded_size(part)
            try:
                _fetch_rest(url, part, pace, lambda done, total: progress.update(task, completed=done, total=total))
                return
            except (OSError, http.client.HTTPException, ValueError) as error:
                if getattr(error, "errno", None) == errno.ENOSPC:
                    raise
                if _downloaded_size(part) <= before or isinstance(error, TooSlow):
                    raise ConnectionError(f"{error} after {_downloaded_size(part) / 1e6:.0f} MB") from None


def _fetch_rest(url: str, part: Path, pace: Pace, report: Callable[[int, int | None], None]) -> None:
    """Downloads what is missing of `part`; raises OSError when the connection ends early."""
    have = _downloaded_size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = open_at_pace(request, pace)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        total = re.fullmatch(r"bytes \*/([0-9]{1,18})", error.headers.get("Content-Range", ""))
        if total and int(total[1]) == have:
            return  # everything had arrived before
        part.unlink()
        return _fetch_rest(url, part, pace, report)
    with response:
        span = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18})", response.headers.get("Content-Range", ""))
        resumed = response.status == http.client.PARTIAL_CONTENT and span is not None and int(span[1]) == have
        done = have if resumed else 0
        total = int(span[2]) if resumed else read_length(response.headers)
        with open(part, "ab" if resumed else "wb") as file:
            while chunk := response.read1(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                report(done, total)
    if total is not None and done != total:
        raise ConnectionError(f"the connection ended at {done} of {total} bytes")


def _downloaded_size(path: Path) -> int:
    """How many bytes an earlier download left in a file, 0 without one."""
    return path.stat().st_size if path.exists() else 0


def compute_digest(path: Path) -> str:
    """SHA-256 of a downloaded archive, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_file(archive: Path) -> Path:
    """Where the SHA-256 of a downloaded archive is recorded."""
    return archive.with_name(archive.name + ".sha256")


def check_digest(archive: Path, digest: str) -> None:
    """Compares an archive's SHA-256 with what was recorded when it was first used, if it was.

    Raises:
        ValueError: it is not the file it was.
    """
    record = digest_file(archive)
    if not record.exists():
        return
    expected = record.read_text().split()[:1]
    if [digest] != expected:
        raise ValueError(
            f"{archive}: found SHA-256 {digest}, expected {' '.join(expected) or 'one'} as recorded in {record} on first "
            "use; the file was changed or damaged on the way: delete it to fetch it again, or delete the record if you trust "
            "the new file."
        )


def record_digest(archive: Path, digest: str) -> None:
    """Records a downloaded archive's SHA-256 for `check_digest`, in the form that sha256sum reads."""
    with replacing(digest_file(archive)) as part:
        part.write_text(f"{digest}  {archive.name}\n")
