"""Addresses of images on the web: which ones can be, and their pictures."""

import shutil
from http.client import HTTPException
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import Request

from centerkp.images.packed import ImageBytes
from centerkp.images.reading import read_image_size
from centerkp.weights.pace import Pace, open_at_pace, read_length

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "tcp", "rtp", "srt")
MAX_DOWNLOAD = 200_000_000  # bytes of one image
DOWNLOAD_TIMEOUT = 20  # seconds without an answer
DOWNLOAD_GRACE = 60  # seconds in all, and one more for each 10 kB


def check_address(address: str) -> None:
    """Raises ValueError for a web or stream address that is of an unknown kind, or none."""
    try:
        parts = urlsplit(address)
        scheme, host = parts.scheme, parts.hostname
    except ValueError as error:
        raise ValueError(f"{address}: found no address ({error}), expected one such as http://host/picture.jpg.") from None
    if scheme not in ("http", "https", *STREAM_SCHEMES):
        known = ", ".join(("http", "https", *STREAM_SCHEMES))
        raise ValueError(f"{address}: found an address that begins with {scheme}, expected one of {known}.")
    if scheme in ("http", "https") and not host:
        raise ValueError(f"{address}: found an address without a host, expected one such as http://host/picture.jpg.")


def read_address(address: str) -> ImageBytes:
    """Downloads one image from its web address: its bytes, so that it is read as one that is a file.

    Raises:
        IsVideo: the server says that it sends a video.
        ValueError: no answer within some seconds or too slow a one, an error of the server, more than `MAX_DOWNLOAD` bytes,
            or not an image.
    """
    data = BytesIO()
    try:
        # As browsers do: blanks and accents are encoded, what is encoded already stays.
        request = Request(quote(address, safe="%/:=&?~#+!$,;'@()*[]"), headers={"User-Agent": "centerkp"})
        with open_at_pace(request, Pace(DOWNLOAD_TIMEOUT, DOWNLOAD_GRACE)) as answer:
            kind = answer.headers.get_content_type()
            if kind.startswith("video/") or kind == "multipart/x-mixed-replace":
                raise IsVideo(f"{address}: found a video, expected an image.", live=kind.startswith("multipart/"))
            shutil.copyfileobj(_Limited(answer, address), data)
    except (HTTPException, OSError, ValueError) as error:
        if str(error).startswith(address):
            raise
        reason = getattr(error, "reason", error)
        code = f"{error.code} {reason}" if hasattr(error, "code") else reason
        raise ValueError(f"{address}: found no image ({code}), expected one; check the address in a browser.") from None
    image = ImageBytes(address, data.getvalue())
    read_image_size(image)  # which raises where it is none
    return image


class IsVideo(ValueError):
    """What was taken for an image, since its name does not say otherwise, is a video; `live` when a camera sends it."""

    def __init__(self, message: str, live: bool):
        super().__init__(message)
        self.live = live


class _Limited:
    """A download that ends with an error when it grows too large or stops before its announced length."""

    def __init__(self, answer: Any, address: str):
        self.answer, self.address, self.bytes = answer, address, 0
        self.expected = read_length(answer.headers) or 0

    def read(self, count: int = -1, /) -> bytes:
        """The next bytes of an image's download; ValueError when it grows too large or ends too early."""
        data = self.answer.read(count)
        self.bytes += len(data)
        if max(self.bytes, self.expected) > MAX_DOWNLOAD:
            raise ValueError(
                f"{self.address}: found more than {MAX_DOWNLOAD // 10**6} MB, expected one image; download it first."
            )
        if not data and self.bytes < self.expected:
            raise ValueError(
                f"{self.address}: found {self.bytes} of {self.expected} bytes, the connection broke; try it again."
            )
        return data
