"""Who may ask: programs, and pages that came from here; no page of another origin, and none that made its name lead here."""

import socket
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """An ASGI application before another, which answers 403 to web pages of other origins.

    A browser that somebody uses here reaches this server for any page that it shows. Such a page cannot hide its `Origin`, and
    where it has a name of its own that leads here (DNS rebinding), that is in `Host`; an address of numbers in `Host` is safe,
    since nobody can make it lead elsewhere.

    Args:
        names: of this machine, besides localhost and its own; a port or "https://" with them says nothing more.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str] = ()):
        self._app = app
        self._names = {_find_name(name.rpartition("//")[2]) for name in ("localhost", socket.gethostname(), *names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on or answers it; of every answer the browser is told that it is for its own page alone."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_closed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        why = self._find_fault(Headers(scope=scope), scope["method"])
        app = JSONResponse({"error": why}, 403) if why else self._app
        await app(scope, receive, send_closed)

    def _find_fault(self, headers: Headers, method: str) -> str:
        """Why the guard does not let a request pass; empty when it does."""
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if not self._is_ours(host):
            return f"Host: found '{host}', expected a name of this machine; start it with --allow-host for that one."
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return f"Origin: found '{origin}', expected {host}; pages of other origins may not ask."
        is_link = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not is_link:
            return "Sec-Fetch-Site: found another origin, expected same-origin; pages of other origins may not ask."
        return ""

    def _is_ours(self, host: str) -> bool:
        """Whether the guard knows a host, with or without a port, as this machine."""
        try:
            name = _find_name(host)
            return name in self._names or bool(ip_address(name))
        except ValueError:
            return False


def _find_name(host: str) -> str:
    """The name of a host that may have a port, in small letters, as the guard compares it."""
    return urlsplit(f"//{host}").hostname or ""
