"""What the server answers: the same as `centerkp.predict`, or why not."""

import http.client
import io
import json
import socket
import tempfile
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
import squares
from served import running

import centerkp
from centerkp.schema import Schema
from centerkp.serving.guard import HEADERS, Guard
from centerkp.serving.limits import Limits


def png(*drawn, size=(96, 96)):
    return cv2.imencode(".png", squares.draw(*drawn, size=size)[..., ::-1])[1].tobytes()


ONE, TWO = png(("red", 10, 10, 40)), png(("red", 6, 8, 30), ("green", 50, 50, 40), size=(120, 96))


@pytest.fixture(scope="module")
def served():
    with running(limits=Limits(megabytes=0.5, megapixels=0.1, pictures=3)) as server:
        yield server


class File(io.BytesIO):
    """An open file, as `centerkp.predict` takes them."""

    def __init__(self, name, data):
        super().__init__(data)
        self.name = name


def test_same_answer_as_predict(served):
    named = [("one.png", ONE), ("zwölf 2.png", TWO)]
    status, headers, found = served.predict(*named)
    assert status == 200 and found == centerkp.predict(served.detector, [File(*one) for one in named]).to_coco()
    assert [image["file_name"] for image in found["images"]] == ["one.png", "zwölf 2.png"]
    assert len(found["annotations"]) == 3 and headers["X-CenterKP-Notes"] is None
    status, _, found = served.predict(*named, query="?min_score=0.85")
    assert found == centerkp.predict(served.detector, [File(*one) for one in named], min_score=0.85).to_coco()
    assert len(found["annotations"]) == 2


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_bytes_as_they_are(served, kind):
    status, _, found = served.ask("POST", "/predict", TWO, Content_Type=kind)
    assert status == 200 and found == centerkp.predict(served.detector, TWO).to_coco()


def test_same_answer_of_a_network(tmp_path):
    """To the last digit, and by the scores that are stored with it."""
    tiny = {"stem_channels": 1, "channels": (1, 1), "blocks": (1, 1), "stacks": 1}
    model = centerkp.build_model(Schema.generic(2, 2), backbone=tiny, image_size=32)
    model.thresholds = centerkp.results.Thresholds(0.1, (0.05, 0.1), (30, 30))
    with running(model) as served:
        for query, chosen in (("", {}), ("?min_score=0.01", {"min_score": 0.01})):
            expected = centerkp.predict(model, [ONE, TWO, ONE], **chosen).to_coco()
            status, _, found = served.predict(("image_0", ONE), ("image_1", TWO), ("image_2", ONE), query=query)
            assert status == 200 and found == expected and found["annotations"]
        kinds = served.ask("GET", "/model")[2]["classes"]
        assert [kind["least_score"] for kind in kinds] == [0.05, 0.1]


def test_odd_pictures_are_noted(served):
    dim = cv2.imencode(".png", np.linspace(7500, 7560, 96 * 96).reshape(96, 96).astype(np.uint16))[1].tobytes()
    status, headers, _ = served.predict(("dim.png", dim))
    assert status == 200 and "such as dim.png; spread the range" in unquote(headers["X-CenterKP-Notes"])


LARGE = png(size=(400, 300))
WRONG = {
    "no picture": (422, "text.png: found no image format that is known", [("good.png", ONE), ("text.png", b"hello")]),
    "cut off": (422, "cut.png: found a PNG of 96x96 pixels without its end", [("cut.png", ONE[:200])]),
    "damaged": (422, "bad.png: found a damaged image", [("bad.png", ONE[:60] + bytes(30) + ONE[90:])]),
    "pixels": (413, "large.png: found 400x300 pixels, expected at most 0.1 million", [("large.png", LARGE)]),
    "too many": (413, "found more than 3 pictures", [("a.png", ONE)] * 4),
    "empty": (422, "found no picture", []),
    "bytes": (413, "request: found 0.6 MB, expected at most 0.5 MB", [("a.png", bytes(600_000))]),
    "many bytes": (413, "request: found 1.5 MB, expected at most 0.5 MB", [("a.png", bytes(1_500_000))]),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_pictures(served, name):
    status, sentence, pictures = WRONG[name]
    answer = served.predict(*pictures)
    assert answer[0] == status and answer[2].keys() == {"error"} and sentence in answer[2]["error"]
    assert served.predict(("a.png", ONE))[0] == 200


def test_a_type_that_is_left_empty_is_any(served):
    assert served.ask("POST", "/predict", ONE, Content_Type="")[0] == 200


def test_names_with_half_characters(served):
    """As the encoding that a form may say can give them; no JSON holds them."""
    kind = {"Content-Type": "multipart/form-data; boundary=limit; charset=utf-7"}
    status, _, answer = served.predict(("+2AA-.png", ONE), **kind)
    assert (status, answer["images"][0]["file_name"]) == (200, "?.png")


def test_too_large_without_saying_so(served):
    chunks = (bytes(100_000) for _ in range(9))
    status, _, content = served.ask("POST", "/predict", chunks, Content_Type="image/png")
    assert status == 413 and "found more than 0.5 MB" in content["error"]


REQUESTS = {
    "json": ("POST", "/predict", b"{}", {"Content_Type": "application/json"}, 415, "found Content-Type application/json"),
    "text": ("POST", "/predict", ONE, {"Content_Type": "text/plain"}, 415, "found Content-Type text/plain"),
    "no boundary": ("POST", "/predict", ONE, {"Content_Type": "multipart/form-data"}, 400, "a form that cannot be read"),
    "bad form": ("POST", "/predict", ONE, {"Content_Type": "multipart/form-data; boundary=x"}, 400, "form that cannot be"),
    "cut-off form": (
        "POST", "/predict",
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n' + ONE
        + b'\r\n--x\r\nContent-Disposition: form-data; name="f"; filename="b.png"\r\n\r\n' + ONE[:50],
        {"Content_Type": "multipart/form-data; boundary=x"}, 400, "a form that cannot be read (it breaks off before its end)",
    ),
    "field": (
        "POST", "/predict", b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\ntext\r\n--x--\r\n',
        {"Content_Type": "multipart/form-data; boundary=x"}, 422, "found the field 'f' with a text",
    ),
    "nothing": ("POST", "/predict", b"", {}, 422, "found no picture"),
    "score": ("POST", "/predict?min_score=2", ONE, {}, 422, "min_score: found '2', expected a number from 0 to 1"),
    "word": ("POST", "/predict?min_score=high", ONE, {}, 422, "min_score: found 'high'"),
    "nan": ("POST", "/predict?min_score=nan", ONE, {}, 422, "min_score: found 'nan'"),
    "parameter": ("POST", "/predict?minscore=1", ONE, {}, 422, "'minscore', expected min_score, did you mean 'min_score'?"),
    "get": ("GET", "/predict", None, {}, 405, "GET /predict: Method Not Allowed; there are /, /predict (POST)"),
    "address": ("GET", "/predictions", None, {}, 404, "GET /predictions: Not Found; there are /"),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_wrong_requests(served, name):
    method, path, body, headers, status, sentence = REQUESTS[name]
    answer = served.ask(method, path, body, **headers)
    assert (answer[0], sentence in answer[2]["error"]) == (status, True), answer


def test_who_may_ask(served):
    """Programs and the page itself, under every address of numbers; no page of another origin, whatever its name leads to."""
    port, here = served.port, f"http://127.0.0.1:{served.port}"
    for headers in (
        {}, {"Host": f"localhost:{port}"}, {"Host": "LOCALHOST"}, {"Host": "192.168.1.5:9000"}, {"Host": f"[::1]:{port}"},
        {"Origin": here}, {"Host": "localhost:9", "Origin": "http://localhost:9"}, {"Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate"},
    ):  # fmt: skip
        assert served.predict(("a.png", ONE), **headers)[0] == 200, headers
    for headers in (
        {"Host": "evil.example"}, {"Host": f"localhost.evil.example:{port}"}, {"Host": "2130706433"},
        {"Host": "127.0.0.1.x:80"},
        {"Host": ""}, {"Host": "["}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
        {"Origin": f"http://localhost:{port}"}, {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
    ):  # fmt: skip
        status, _, content = served.predict(("a.png", ONE), **headers)
        assert status == 403 and content["error"].endswith((".", "ask.")), headers
        assert served.ask("GET", "/model", **headers)[0] == 403 or "Sec_Fetch_Mode" in headers
    assert served.ask("GET", "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200  # a link
    for path in ("/", "/model", "/health", "/none"):
        headers = served.ask("GET", path, Origin=here)[1]
        assert all(headers[name] == value for name, value in HEADERS.items())
        assert not [name for name in headers if name.lower().startswith("access-control")]


def test_other_names():
    guard = Guard(None, ["detector.example", "https://Other.Example:8443", "third.example:80"])
    for name in ("detector.example:80", "other.example", "other.example:8443", "third.example", socket.gethostname().lower()):
        assert guard._is_ours(name)
    assert not guard._is_ours("evil.example")


def test_model_and_health(served):
    _, _, model = served.ask("GET", "/model")
    assert (model["name"], model["image_size"], model["limits"]["pictures"]) == ("squares", [96, 96], 3)
    red, green = model["classes"]
    assert red["keypoints"] == ["corner", "middle"] and red["least_score"] == 0.3 and len(red["keypoint_colors"]) == 2
    assert green["name"] == "green" and "keypoints" not in green
    before = served.ask("GET", "/health")[2]
    served.predict(("a.png", ONE), ("b.png", ONE))
    assert before == {"status": "ok", "requests": 0, "pictures": before["pictures"]}
    assert served.ask("GET", "/health")[2]["pictures"] == before["pictures"] + 2


def test_page_needs_nothing_else(served):
    status, headers, page = served.ask("GET", "/")
    assert status == 200 and page.count("<script>") == 1 and "http:" not in page and "https:" not in page
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "connect-src 'self'" in policy


def test_nothing_is_written(monkeypatch):
    def refuse(self):
        raise AssertionError("written to a disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)
    data = cv2.imencode(".png", noise)[1].tobytes()
    assert len(data) > 2 << 20  # more than Starlette keeps in memory by itself
    with running() as served:
        assert served.predict(("noise.png", data))[0] == 200


def test_slow_request():
    with running(limits=Limits(seconds=0.2)) as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", "100")
        connection.endheaders(b"some")
        answer = None
        try:
            connection.sock.settimeout(60)
            answer = connection.getresponse()
            assert answer.status == 408 and "unfinished after 0.2 s" in json.loads(answer.read())["error"]
        finally:
            connection.close()


@pytest.mark.parametrize("name", ["megabytes", "megapixels", "pictures", "waiting"])
def test_limits_have_sense(name):
    for wrong in (0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"--max-{name}: found {wrong}, expected more than 0"):
            Limits(**{name: wrong})
