"""The documentation site in a real browser: no request leaves it, search finds, no page is wider than a phone."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.report.browser import Browser, find_browser

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium; .ci/run installs it where apt-get can")

PHONE = 390
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SEARCH = """
new Promise((done) => {
  const input = document.querySelector(".md-search__input");
  document.querySelector("#__search").checked = true;
  input.focus();
  input.value = "Krippendorff";
  input.dispatchEvent(new KeyboardEvent("keyup", {bubbles: true}));
  input.dispatchEvent(new Event("input", {bubbles: true}));
  const end = Date.now() + 20000;
  const look = () => {
    const found = Array.from(document.querySelectorAll(".md-search-result__link")).map((one) => one.href);
    if (found.length || Date.now() > end) done(found);
    else setTimeout(look, 100);
  };
  look();
})
"""


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that prints nothing."""

    def log_message(self, *_):
        """Print nothing."""


@pytest.fixture(scope="module")
def address(site):
    """The address of the site while it is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened


def test_search_finds_a_page_and_no_request_leaves(browser, address):
    browser.open(address)
    found = browser.ask(SEARCH)
    assert any("metrics-on-trial" in link for link in found), found
    assert any(request.endswith("search_index.json") for request in browser.requests)
    assert [one for one in browser.requests if not one.startswith((address, "data:", "blob:"))] == []


def test_no_page_is_wider_than_a_phone(browser, address, site):
    wide = {}
    for page in sorted(site.rglob("index.html")):
        name = page.parent.relative_to(site).as_posix()
        browser.open(f"{address}{name}/", width=PHONE, height=844)
        assert [one for one in browser.requests if not one.startswith((address, "data:", "blob:"))] == []
        wide[name] = browser.ask(WIDER)
    assert {name: pixels for name, pixels in wide.items() if pixels} == {}
