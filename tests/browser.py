"""A Chromium without a window, steered by its DevTools protocol: for what a page does and how it looks."""

import asyncio
import base64
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 60


class Browser:
    """One page; every call waits for its answer. `said` collects what the page logs and the errors it throws."""

    def __init__(self, loop, connection):
        self._loop, self._connection, self._number = loop, connection, 0
        self.said, self.asked = [], []

    def call(self, method, **parameters):
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), PATIENCE))

    async def _call(self, method, parameters):
        self._number += 1
        await self._connection.write_message(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self._connection.read_message())
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._listen(message)

    def _listen(self, message):
        if message["method"] in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.said.append(json.dumps(message["params"]))
        if message["method"] == "Network.requestWillBeSent":
            self.asked.append(message["params"]["request"]["url"])

    def open(self, address, width, height=900, dark=False):
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        media = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=media)
        self.call("Page.navigate", url=address)

    def evaluate(self, code):
        """The value of an expression of JavaScript, of a promise when it is kept."""
        result = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, code):
        """Waits until an expression is true."""
        ends = time.monotonic() + PATIENCE
        while not self.evaluate(code):
            assert time.monotonic() < ends, (code, self.said, self.evaluate("document.body.innerText"))
            time.sleep(0.05)

    def choose_files(self, selector, *paths):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def photograph(self, path):
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        Path(path).write_bytes(base64.b64decode(data))


@contextmanager
def start(folder):
    """A browser whose profile lies in a folder."""
    from tornado.websocket import websocket_connect

    flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking"
    command = [CHROMIUM, *flags.split(), "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    try:
        port = Path(folder, "DevToolsActivePort")
        ends = time.monotonic() + PATIENCE
        while not (port.exists() and port.read_text().strip()):
            assert process.poll() is None and time.monotonic() < ends, "the browser does not start"
            time.sleep(0.05)
        address = f"http://127.0.0.1:{port.read_text().split()[0]}/json"
        with urlopen(address) as answer:
            page = next(one for one in json.load(answer) if one["type"] == "page")
        connection = loop.run_until_complete(_connect(websocket_connect, page["webSocketDebuggerUrl"]))
        yield Browser(loop, connection)
        connection.close()
    finally:
        process.terminate()
        process.wait()
        loop.close()


async def _connect(connect, address):
    return await connect(address, max_message_size=1 << 27)
