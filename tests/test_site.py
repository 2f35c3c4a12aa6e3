"""The documentation as a site: it builds strictly, asks no other server, and fits a phone and a desk's screen."""

import re
import subprocess
import sys

import browser
import pytest
from doc_pages import PAGES, ROOT

SEARCH = """{
  const field = document.querySelector("input[name=query]");
  field.focus();
  field.value = "tiles";
  field.dispatchEvent(new KeyboardEvent("keyup", { bubbles: true }));
  field.dispatchEvent(new InputEvent("input", { bubbles: true }));
}"""
FOUND = "[...document.querySelectorAll('.md-search-result__link')].some(one => one.href.includes('large-pictures'))"
EMPTY = "[...document.images].filter(one => !one.naturalWidth).map(one => one.src)"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_it_is_whole_and_asks_no_other_server(site):
    pages = {page.relative_to(site).as_posix(): page.read_text() for page in site.rglob("*.html")}
    for page in PAGES[1:]:
        assert f"{page.stem}.html" in pages
    for name, text in pages.items():
        assert not re.findall(r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//", text), name
        assert not re.findall(r"<link[^>]+rel=\"?(?:stylesheet|preconnect|preload)\"?[^>]+href=\"?(?:https?:)?//", text), name
    assert "var __index" in (site / "search" / "search_index.js").read_text()[:20]
    assert "iframe-worker.js" in pages["start.html"]
    # Two arguments in one line of a docstring would be an argument without a default.
    names = re.findall(r'<tr class="doc-section-item">\s*<td>\s*<code>([^<]*)</code>', pages["api.html"])
    assert len(names) > 50 and not [name for name in names if "," in name]


@pytest.mark.long
@pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_fits_and_search_finds(site, tmp_path, width):
    """From the disk, without a server: nothing sticks out of the window, every picture is there, no script fails."""
    pages = [page for page in sorted(site.rglob("*.html")) if page.name not in ("404.html", "web-example.html")]
    assert len(pages) > len(PAGES)
    with browser.start(tmp_path / "profile") as window:
        for page in pages:
            window.open(page.as_uri(), width)
            window.wait_for(f"location.href.startsWith('{page.as_uri()}') && document.readyState == 'complete'")
            assert window.evaluate("document.documentElement.scrollWidth") <= width, page.name
            assert not window.evaluate(EMPTY) and not window.said, (page.name, window.said)
        window.open((site / "index.html").as_uri(), width)
        window.wait_for("location.href.endsWith('index.html') && document.readyState == 'complete'")
        window.evaluate("document.querySelector('[for=__search]').click()")
        window.evaluate(SEARCH)
        window.wait_for(
            "[...document.querySelectorAll('.md-search-result__link')].some(one => one.href.includes('large-pictures'))"
        )
