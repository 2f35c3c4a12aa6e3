import base64
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from centerkp.report.page import Bar, Finding, Page, Picture, encode_image

WICKED = "<script>alert(1)</script>\"'&"


class Reader(HTMLParser):
    """All tags with their attributes, all text, and whether tags close in order."""

    VOID = {"meta", "img", "link", "br"}

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def make_image(height=20, width=30):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def make_full_page():
    page = Page(WICKED, WICKED)
    page.add_section(WICKED, f"{WICKED}\n\nsecond paragraph")
    page.add_heading(WICKED)
    page.add_tiles([(WICKED, WICKED, WICKED)])
    page.add_table([WICKED, "n"], [[WICKED, WICKED], [WICKED]], caption=WICKED, shades=[[0.5], [0]])
    page.add_bars([WICKED, (WICKED, [Bar(1, WICKED), Bar(2, WICKED, 3)])], [WICKED, WICKED])
    page.add_pictures([Picture([make_image()], WICKED, [WICKED])])
    page.add_findings([Finding("error", WICKED, [WICKED], WICKED)])
    page.add_charts([(WICKED, "<svg></svg>", WICKED)], [WICKED])
    return page


def test_everything_is_escaped_and_closed():
    reader = Reader(make_full_page().to_html())
    assert reader.open == [] and not reader.all("script")
    assert sum(text.count("<script>") for text in reader.text) >= 20
    assert reader.all("img")[0]["alt"] == WICKED


def test_the_page_asks_for_nothing():
    reader = Reader(make_full_page().to_html())
    for _, attrs in reader.tags:
        for name in ("src", "href", "action", "data"):
            assert attrs.get(name, "#").startswith(("#", "data:image/"))
        assert not any(name.startswith("on") for name in attrs)
    policy = next(m["content"] for m in reader.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "script" not in policy
    style = "".join(reader.text)
    assert "prefers-color-scheme: dark" in style and "@import" not in style and "url(" not in style
    assert any(m.get("name") == "viewport" for m in reader.all("meta"))


def test_sections_are_linked_from_the_top():
    page = Page("t")
    for title in ("one", "two"):
        page.add_section(title)
    reader = Reader(page.to_html())
    assert [a["href"] for a in reader.all("a")] == ["#s1", "#s2"] == [f"#{h['id']}" for h in reader.all("h2")]


def test_tables_scroll_and_mark():
    page = Page("t")
    page.add_table(["", "a", "b"], [["x", "1", "2"], ["group"], ["y", "3", "4"]], best=[(2, 1)], text_columns=[2])
    page.add_table(["", "a"], [["x", "1"]], shades=[[np.nan]])
    html = page.to_html()
    assert html.count('<div class="scroll"') == 2 and '<td class="best">3</td>' in html
    assert 'colspan="3">group</th>' in html and '<td class="text left">2</td>' in html
    assert "--part:0.000" in html


def test_bars_share_one_scale():
    page = Page("t")
    page.add_bars([("a", [Bar(5, "5", 10)]), ("b", [Bar(2.5, "2.5")]), ("c", [Bar(np.nan, "-")])])
    html = page.to_html()
    assert "width:50.00%" in html and "width:100.00%" in html and "width:25.00%" in html and "nan" not in html
    nothing = Page("t")
    nothing.add_bars([("a", [Bar(0, "0")])])
    assert "width:0.00%" in nothing.to_html()


def decode_image(text):
    assert text.startswith("data:image/jpeg;base64,")
    return cv2.imdecode(np.frombuffer(base64.b64decode(text.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_images_are_shrunk_and_keep_their_pixels():
    image = cv2.resize(make_image(4, 10), (100, 40), interpolation=cv2.INTER_CUBIC)
    assert np.abs(decode_image(encode_image(image)).astype(int) - image).mean() < 8
    assert decode_image(encode_image(make_image(400, 1000))).shape == (192, 480, 3)
    assert encode_image(make_image(1, 2000))
    for wrong in (image[..., 0], image.astype(np.float32), np.zeros((0, 3, 3), np.uint8)):
        with pytest.raises(ValueError, match="expected uint8"):
            encode_image(wrong)


def test_findings_say_their_severity_in_words():
    page = Page("t")
    page.add_findings([Finding("warning", "two images differ", ["a.jpg", "b.jpg"], "look at them")])
    html = page.to_html()
    assert ">Warning</span>two images differ<ul><li>a.jpg</li>" in html and "look at them" in html
    with pytest.raises(ValueError, match="found severity 'fatal', expected one of"):
        page.add_findings([Finding("fatal", "x")])


def test_write_replaces_whole_files_only(tmp_path):
    path = tmp_path / "deep" / "page.html"
    page = Page("Ünïcode \ud800 name")  # a file name that is not UTF-8 reaches Python like this
    assert page.write(path) == path and "Ünïcode" in path.read_text(encoding="utf-8")
    page.title = None
    with pytest.raises(AttributeError):
        page.write(path)
    assert [p.name for p in path.parent.iterdir()] == ["page.html"] and "Ünïcode" in path.read_text(encoding="utf-8")
