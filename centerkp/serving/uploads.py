"""A request's body -> the pictures in it, in memory alone and within the limits."""

import asyncio
from collections.abc import AsyncGenerator, MutableMapping, Sequence
from typing import Any

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive

from centerkp.images.packed import ImageBytes
from centerkp.images.reading import read_image_size
from centerkp.serving.limits import Limits, Refusal, Visit, too_large
from centerkp.wording import count_of, quote

# curl's --data-binary says "x-www-form-urlencoded" of whatever it sends.
RAW = ("image/", "application/octet-stream", "application/x-www-form-urlencoded")
LINGER = 5  # seconds for which a refused request is still listened to


class Gone(Exception):
    """Whoever asked has left before the end."""


class Body:
    """What a client sends behind the headers of its request, which counts as it comes.

    Args:
        receive: gives the ASGI messages of one request.

    Attributes:
        visit: counts the bytes.
        ended: whether all has come.
    """

    visit: Visit | None

    def __init__(self, receive: Receive):
        self._receive, self.visit, self.ended = receive, None, False

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The bytes of the body as they arrive.

        Raises:
            Refusal: they are too many.
            Gone: the client left.
        """
        while not self.ended:
            chunk = await self._next()
            if self.visit is not None:
                self.visit.bring(len(chunk))
            yield chunk

    async def discard(self, most: int) -> None:
        """Takes what a refused client still sends, up to so many bytes: many read no answer before they have sent all."""
        try:
            async with asyncio.timeout(LINGER):
                while not self.ended and most > 0:
                    most -= len(await self._next())
        except (TimeoutError, Gone):
            pass

    async def wait_for_end(self) -> None:
        """Returns when the client has left, some time after the end of its body."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _next(self) -> bytes:
        """The next bytes of the body, perhaps none."""
        message: MutableMapping[str, Any] = await self._receive()
        if message["type"] == "http.disconnect":
            self.ended = True
            raise Gone
        self.ended = not message.get("more_body", False)
        return message.get("body", b"")


async def read_pictures(headers: Headers, body: Body, limits: Limits) -> list[ImageBytes]:
    """The encoded pictures of a request, at least one: the files of a multipart form, or the body as it is.

    They are called as `centerkp.predict` calls open files and bytes: by their file names, or image_0, image_1.

    Raises:
        Refusal: there are none, too many, or too large ones, or it is no kind of request that has any.
        Gone: the client left.
    """
    kind = (headers.get("content-type") or "application/octet-stream").split(";")[0].strip().lower()
    if kind != "multipart/form-data" and not kind.startswith(RAW):
        raise Refusal(415, f"request: found Content-Type {kind}, expected multipart/form-data, image/* or octet-stream.")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.bytes:
        raise too_large(limits, f"{int(length) / 1e6:.1f} MB")
    try:
        async with asyncio.timeout(limits.seconds):
            if kind == "multipart/form-data":
                pictures = await _read_form(headers, body, limits)
            else:
                data = b"".join([chunk async for chunk in body.chunks()])
                pictures = [ImageBytes("image_0", data)] if data else []
    except TimeoutError:
        raise Refusal(408, f"request: found it unfinished after {limits.seconds:g} s; send it faster, or smaller.") from None
    if not pictures:
        raise Refusal(422, "request: found no picture, expected the bytes of one, or a form with files.")
    return pictures


class _FormParser(MultiPartParser):
    """Starlette's, which takes a form that breaks off for a whole one, and leaves out the file that it breaks off in."""

    has_ended = False

    def on_end(self) -> None:
        """Notes the boundary that closes the form."""
        self.has_ended = True

    async def parse(self) -> FormData:
        """The whole form; MultiPartException for one that is none, or not whole."""
        self.stream = self._require_end(self.stream)
        return await super().parse()

    async def _require_end(self, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """The same chunks of a form, which have to have ended it."""
        async for chunk in chunks:
            yield chunk
        if not self.has_ended:
            raise MultiPartException("it breaks off before its end")


async def _read_form(headers: Headers, body: Body, limits: Limits) -> list[ImageBytes]:
    """The files of a form in a request, whatever its fields are called."""
    parser = _FormParser(headers, body.chunks(), max_files=limits.pictures)
    parser.spool_max_size = limits.bytes + 1  # what is larger would be written to a disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if parser._current_files > limits.pictures:
            raise Refusal(413, f"request: found more than {count_of(limits.pictures, 'picture')}; send several.") from None
        raise Refusal(400, f"request: found a form that cannot be read ({error.message.rstrip('.')}).") from None
    pictures = []
    for field, value in form.multi_items():
        if not isinstance(value, UploadFile):
            raise Refusal(422, f"request: found the field {quote(field)} with a text, expected files alone.")
        name = (value.filename or "").encode(errors="replace").decode()  # a form may say an encoding that has half characters
        pictures.append(ImageBytes(name or f"image_{len(pictures)}", value.file.read()))
        value.file.close()
    return pictures


def check_pixels(pictures: Sequence[ImageBytes], limits: Limits) -> None:
    """Looks at the headers of the pictures of a request.

    Raises:
        Refusal: one cannot be read (422), or has too many pixels (413).
    """
    for picture in pictures:
        try:
            width, height = read_image_size(picture)
        except ValueError as error:
            raise Refusal(422, str(error)) from None
        if width * height > limits.megapixels * 1e6:
            raise Refusal(
                413,
                f"{picture}: found {width}x{height} pixels, expected at most {limits.megapixels:g} million; make it smaller.",
            )
