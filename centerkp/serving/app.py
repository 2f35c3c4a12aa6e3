"""What a server answers at which address."""

import asyncio
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from time import monotonic
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from centerkp import __version__
from centerkp.drawing.colors import class_colors, keypoint_colors
from centerkp.images.oddities import describe_oddities
from centerkp.images.packed import ImageBytes
from centerkp.inference.detector import find_room
from centerkp.inference.image_result import ImageResult, Predictions
from centerkp.inference.scores import LeastScores, choose_least_scores
from centerkp.results import coco_category
from centerkp.serving.guard import Guard
from centerkp.serving.limits import Door, Limits, Refusal
from centerkp.serving.uploads import Body, Gone, check_pixels, read_pictures
from centerkp.serving.worker import Worker
from centerkp.wording import suggest

NOTES = "X-CenterKP-Notes"  # percent-encoded sentences on what is odd about the pictures
_UNREAD = 499  # the status for a client that has left, which nobody reads


def make_app(
    worker: Worker, name: str, *, limits: Limits | None = None, min_score: float | None = None, hosts: Iterable[str] = ()
) -> tuple[Guard, "Service"]:
    """The ASGI application that serves a page, `/predict`, `/model` and `/health`, and what answers in it.

    Args:
        worker: has begun.
        name: what the model is called.
        min_score: the least score where a request says none; by default as `centerkp.predict` chooses.
        hosts: names that lead to this machine, see `Guard`.
    """
    service = Service(worker, name, limits or Limits(), choose_least_scores(worker.detector, min_score))
    routes = [
        Route("/", service.show_page),
        Route("/predict", service.answer, methods=["POST"]),
        Route("/model", service.describe),
        Route("/health", service.tell_health),
    ]
    handlers = {HTTPException: _answer_http_error, Exception: _answer_failure}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), hosts), service


class Service:
    """The answers of one server."""

    def __init__(self, worker: Worker, name: str, limits: Limits, least: LeastScores):
        self.worker, self.name, self.limits, self.least = worker, name, limits, least
        self.door = Door(limits)
        self.pictures = 0  # that were answered
        self._page = files("centerkp.serving").joinpath("page.html").read_text(encoding="utf-8")
        script = self._page.partition("<script>")[2].partition("</script>")[0]
        digest = b64encode(sha256(script.encode()).digest()).decode()
        # The page may run its own script and ask its own server, and nothing else.
        self._policy = (
            f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src blob: data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    async def show_page(self, request: Request) -> Response:
        """The page of the server, whole in itself."""
        return HTMLResponse(self._page, headers={"Content-Security-Policy": self._policy})

    async def tell_health(self, request: Request) -> Response:
        """That the server is there, how many requests are inside, and how many pictures it has answered."""
        return JSONResponse({"status": "ok", "requests": self.door.requests, "pictures": self.pictures})

    async def describe(self, request: Request) -> Response:
        """What the served model finds, from which scores on, and what the server takes."""
        detector = self.worker.detector
        colors, points = class_colors(detector.schema).tolist(), keypoint_colors(detector.schema).tolist()
        classes = [
            coco_category(kind)
            | {"least_score": self.least.values[number], "color": colors[number]}
            | {"keypoint_colors": points[detector.schema.keypoint_slice(number)]}
            for number, kind in enumerate(detector.schema.classes)
        ]
        tiling = getattr(detector, "tiling", None)
        return JSONResponse(
            {
                "name": self.name,
                "version": __version__,
                "image_size": list(map(int, detector.image_size)),
                "max_objects": find_room(detector),
                "tiles": str(tiling) if tiling else None,
                "least_score": self.least.sentence,
                "classes": classes,
                "limits": vars(self.limits),
            }
        )

    async def answer(self, request: Request) -> Response:
        """What is found in the pictures of a request to the server: the JSON of `centerkp.predict(...).to_coco()`."""
        body = Body(request.receive)
        try:
            least = self._read_query(request)
            with self.door.let_in() as visit:
                started = monotonic()
                body.visit = visit
                pictures = await read_pictures(request.headers, body, self.limits)
                await asyncio.to_thread(check_pixels, pictures, self.limits)
                results = await self._find(pictures, body)
                response = await asyncio.to_thread(self._write, results, least)
                self.door.took = monotonic() - started
            self.pictures += len(pictures)
            return response
        except Refusal as refusal:
            # Who asks before it sends listens already, and who is too slow has had its time.
            if "expect" not in request.headers and refusal.status != 408:
                await body.discard(4 * self.limits.bytes)
            headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
            return JSONResponse({"error": refusal.sentence}, refusal.status, headers)
        except Gone:
            return Response(status_code=_UNREAD)

    async def _find(self, pictures: list[ImageBytes], body: Body) -> list[ImageResult]:
        """What the server's worker finds in the pictures of a request; nothing more is done for a client that has left."""
        found = asyncio.wrap_future(self.worker.submit(pictures))
        left = asyncio.ensure_future(body.wait_for_end())
        try:
            both: set[asyncio.Future] = {found, left}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not found.done():
                raise Gone
        finally:
            found.cancel()
            left.cancel()
        results = found.result()
        for result in results:
            if result.error:
                raise Refusal(422, result.error)
        return results

    def _write(self, results: list[ImageResult], least: LeastScores) -> Response:
        """The answer of the server with the objects whose score counts, and what is odd about their pictures."""
        schema = self.worker.detector.schema
        kept = [replace(result, detections=least.keep(result.detections)) for result in results]
        notes = describe_oddities((result.name, result.oddities) for result in results)
        return JSONResponse(Predictions(kept, schema).to_coco(), headers={NOTES: quote(" ".join(notes))} if notes else None)

    def _read_query(self, request: Request) -> LeastScores:
        """The least scores that a request to the server asks for with `?min_score=0.5`, else the server's own."""
        for name in request.query_params:
            if name != "min_score":
                raise Refusal(422, f"request: found the parameter {name!r}, expected min_score{suggest(name, ['min_score'])}.")
        given = request.query_params.get("min_score")
        if given is None:
            return self.least
        try:
            return choose_least_scores(self.worker.detector, float(given))
        except ValueError:
            raise Refusal(422, f"min_score: found {given!r}, expected a number from 0 to 1.") from None


async def _answer_http_error(request: Request, error: Any) -> Response:
    """The server's answer where nothing is, or where one may not ask in this way: to an `HTTPException`."""
    sentence = f"{request.method} {request.url.path}: {error.detail}; there are /, /predict (POST), /model and /health."
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


async def _answer_failure(request: Request, error: Exception) -> Response:
    """The server's answer when the detector has failed; the error itself is for the terminal."""
    return JSONResponse({"error": "predict: the model failed at these pictures; the server's terminal says why."}, 500)
