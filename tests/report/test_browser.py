"""The report in a real browser: sorting by mouse and keyboard, contrast as painted, narrow windows, print."""

from __future__ import annotations

import re

import pytest

from .browser import Browser, find_browser

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium; .ci/run installs it where apt-get can")

# Every text's contrast with what is painted behind it, the lowest first.
CONTRASTS = """
(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const hidden = element.closest("script, style, .skip") || !element.getClientRects().length;
    if (!walker.currentNode.data.trim() || hidden) continue;
    const style = getComputedStyle(element);
    const color = channels(element.closest("svg") ? style.fill : style.color).slice(0, 3);
    const [low, high] = [light(color), light(behind(element))].sort((a, b) => a - b);
    found.push([(high + 0.05) / (low + 0.05), walker.currentNode.data.trim().slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()
"""
COLUMN = "Array.from(document.querySelectorAll('table')[0].tBodies[0].rows).map((row) => row.cells[{}].dataset.value)"
HEADER = "document.querySelectorAll('table')[0].tHead.rows[0].cells[{}]"


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened


def numbers(browser, column):
    return [float(value) for value in browser.ask(COLUMN.format(column))]


def test_a_click_sorts_the_best_first_and_another_the_worst(browser, written):
    browser.open(written)
    assert [address for address in browser.requests if not address.startswith("data:")] == [written.as_uri()]
    for column in (2, 3):
        higher = browser.ask(f"{HEADER.format(column)}.dataset.better") == "higher"
        for best_first in (True, False):
            browser.ask(f"{HEADER.format(column)}.querySelector('button').click()")
            found = numbers(browser, column)
            assert found == sorted(found, reverse=higher == best_first)
            want = "descending" if higher == best_first else "ascending"
            assert browser.ask(f"{HEADER.format(column)}.getAttribute('aria-sort')") == want
    assert browser.ask(f"{HEADER.format(2)}.getAttribute('aria-sort')") == "none"


@pytest.mark.parametrize("key", ["Enter", " "])
def test_the_keyboard_reaches_a_heading_and_sorts_by_it(browser, written, key):
    browser.open(written)
    # The first stop jumps over the navigation.
    browser.press("Tab")
    assert browser.ask("document.activeElement.className") == "skip"
    for _ in range(60):
        browser.press("Tab")
        if browser.ask(f"document.activeElement.parentNode === {HEADER.format(3)}"):
            break
    else:
        pytest.fail("no Tab reaches the third heading")
    assert browser.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    before = numbers(browser, 3)
    browser.press(key)
    assert numbers(browser, 3) != before or before == sorted(before)
    assert numbers(browser, 3) == sorted(before, reverse=browser.ask(f"{HEADER.format(3)}.dataset.better") == "higher")
    assert browser.ask(f"document.activeElement.parentNode === {HEADER.format(3)}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_text_has_contrast_and_nothing_overflows(browser, written, scheme, width):
    browser.open(written, width=width, scheme=scheme)
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
    browser.ask("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
    found = browser.ask(CONTRASTS)
    assert len(found) > 200
    assert found[0][0] >= 4.5, found[:5]
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
    assert browser.ask("Array.from(document.images).every((one) => one.loading === 'lazy' || one.naturalWidth > 0)")


def test_answers_pictures_and_leaderboard_fill_the_first_screen(browser, written):
    browser.open(written, width=1280, height=800)
    for part in (".answers", ".pictures", "#leaderboard table"):
        assert browser.ask(f"document.querySelector('{part}').getBoundingClientRect().bottom") <= 800
    assert browser.ask("Array.from(document.querySelectorAll('.row img')).every((one) => one.naturalWidth === 288)")
    tops = browser.ask("Array.from(document.querySelectorAll('.row img'), (one) => one.getBoundingClientRect().top)")
    assert len(tops) == 4
    assert len(set(tops)) == 1
    board = "document.querySelector('#leaderboard .scroll')"
    assert browser.ask(f"{board}.scrollWidth <= {board}.clientWidth")


VISIBLE = "document.getElementById('{}').checkVisibility({{contentVisibilityAuto: true}})"


def until(browser, condition):
    """Return whether a condition comes true within four seconds: scrolling takes its time."""
    return browser.ask(
        f"new Promise((done) => {{ const end = Date.now() + 4000; const look = () => ({condition}) ? done(true) : "
        "Date.now() > end ? done(false) : setTimeout(look, 50); look(); })"
    )


@pytest.mark.parametrize("script", [True, False])
def test_a_link_to_a_folded_part_opens_it(browser, written, script, tmp_path):
    page = tmp_path / "page.html"
    text = written.read_text(encoding="utf-8")
    page.write_text(text if script else re.sub("<script>.*</script>", "", text, flags=re.DOTALL), encoding="utf-8")
    browser.open(page, height=800)
    assert browser.ask("document.scripts.length") == int(script)
    assert not browser.ask(VISIBLE.format("cost"))
    browser.ask("document.querySelector('nav a[href=\"#cost\"]').focus()")
    browser.press("Enter")
    assert until(browser, VISIBLE.format("cost"))
    assert browser.ask("document.querySelectorAll('details[open]').length") == 1
    title = "document.getElementById('h-cost').getBoundingClientRect()"
    assert until(browser, f"{title}.top >= document.querySelector('nav').clientHeight && {title}.top < 400")


def test_a_second_link_opens_a_part_that_was_folded_again(browser, written):
    browser.open(written)
    for _ in range(2):
        browser.ask("document.querySelector('nav a[href=\"#audit\"]').click()")
        assert browser.ask(VISIBLE.format("audit"))
        browser.ask("document.getElementById('audit').closest('details').open = false")
        assert not browser.ask(VISIBLE.format("audit"))


@pytest.mark.parametrize("key", ["Enter", " "])
def test_the_keyboard_unfolds_a_part(browser, written, key):
    browser.open(written)
    browser.ask("document.getElementById('h-again').closest('summary').focus()")
    browser.press(key)
    assert until(browser, VISIBLE.format("again"))


def test_folded_parts_are_printed_and_fold_again(browser, written):
    browser.open(written, media="print")
    assert browser.ask(VISIBLE.format("again"))
    browser.look()
    assert not browser.ask(VISIBLE.format("again"))
    browser.ask("dispatchEvent(new Event('beforeprint'))")
    assert browser.ask("document.querySelectorAll('details:not([open])').length") == 0
    browser.ask("dispatchEvent(new Event('afterprint'))")
    assert browser.ask("document.querySelectorAll('details[open]').length") == 0


def test_in_print_all_is_there_in_black_on_white(browser, written):
    browser.open(written, scheme="dark", media="print")
    found = browser.ask(CONTRASTS)
    assert found[0][0] >= 4.5, found[:5]
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.ask("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_names_are_not_executed(browser, written):
    browser.open(written)
    assert browser.ask("document.querySelectorAll('script').length") == 1
    assert "<script>alert" in browser.ask("document.body.innerText")
