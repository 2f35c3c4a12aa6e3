"""The page in a real browser, as wide as a phone and as a desk's screen."""

import base64

import browser
import pytest
import squares
from served import running

from centerkp.results import Thresholds

SHOWN = "[...document.querySelectorAll('.count')].map(one => one.textContent).join()"
MOVE = "at('score').value = 0.3; at('score').oninput()"
# A picture that somebody drags onto the page.
DROP = """{
  const files = new DataTransfer(), bytes = Uint8Array.from(atob("%s"), one => one.charCodeAt());
  files.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
}"""
# The colour in the middle of the upper side of the box of the first card's first object, which has a label beside it.
COLOR = """(() => {
  const [x, y, width, height] = cards[0].shown[0].bbox, scale = cards[0].canvas.width / cards[0].answer.images[0].width;
  return [...cards[0].canvas.getContext("2d").getImageData((x + width) * scale, (y + height / 2) * scale, 1, 1).data].join();
})()"""


@pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_page(tmp_path, width):
    data = squares.write_png(tmp_path / "one.png", ("red", 20, 20, 40), ("green", 100, 60, 30), size=(192, 96)).read_bytes()
    (tmp_path / "text.png").write_text("no picture")
    detector = squares.SquareDetector()
    detector.thresholds = Thresholds(0.5, (0.5, 0.9), (30, 30))  # the green one is found with 0.8
    with running(detector) as served, browser.start(tmp_path / "profile") as page:
        page.open(served.address, width, dark=width > 600)
        page.wait_for("document.title == 'squares - centerkp'")
        assert page.evaluate("[at('shown').value, at('score').value].join()") == "by class,0.7"
        assert "red 0.5, green 0.9, stored with the model" in page.evaluate("at('model').textContent")
        page.choose_files("#files", tmp_path / "one.png")
        page.wait_for(f"{SHOWN} == '1 object'")
        page.evaluate(DROP % base64.b64encode(data).decode())
        page.wait_for(f"{SHOWN} == '1 object,1 object'")
        page.evaluate(MOVE)
        assert page.evaluate(SHOWN) == "2 objects,2 objects" and page.evaluate("at('shown').value") == "0.30"
        assert page.evaluate("at('classes').textContent") == "red 2green 2"
        page.wait_for("cards[0].picture.complete")
        assert page.evaluate(COLOR) == "86,180,233,255"
        assert page.evaluate("document.querySelector('figcaption b').textContent") == "dropped.png"
        table = page.evaluate("document.querySelector('figure table').innerText || document.querySelector('table').textContent")
        assert all(word in table for word in ("corner", "middle", "20.0", "40.0", "0.80"))
        page.evaluate("at('own').click()")
        assert page.evaluate(SHOWN) == "1 object,1 object"
        page.choose_files("#files", tmp_path / "text.png")
        page.wait_for("document.querySelector('figure .bad')?.textContent.startsWith('text.png: found no image format')")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate("document.querySelector('details').open = true")
        page.photograph(tmp_path / "page.png")
        page.evaluate("at('clear').click()")
        assert page.evaluate("document.querySelectorAll('figure').length") == 0
        # Nothing from elsewhere, no errors, and none of what the page's policy forbids.
        assert all(one.startswith((served.address, "blob:", "data:")) for one in page.asked) and len(page.asked) >= 5
        assert all("status of 422" in one for one in page.said) and len(page.said) == 1, page.said
