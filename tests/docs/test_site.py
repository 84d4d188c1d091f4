"""The documentation site: it builds, loads nothing from elsewhere, and holds every command and option."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

from evalkit.core.settings import OPTIONS

ROOT = Path(__file__).resolve().parents[2]
LOADED = {
    "img": "src",
    "script": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
}


class Loads(HTMLParser):
    """Collects the addresses that a browser loads without a click."""

    def __init__(self, text):
        super().__init__()
        self.addresses = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        of = dict(attributes)
        if tag == "link" and not {"canonical", "next", "prev"} & set((of.get("rel") or "").split()):
            self.addresses.append(of.get("href"))
        if tag in LOADED:
            self.addresses.append(of.get(LOADED[tag]))


def test_pages_load_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    loads = {address for page in pages for address in Loads(page.read_text(encoding="utf-8")).addresses if address}
    assert loads
    assert {address for address in loads if re.match(r"(\w+:)?//", address)} == set()


def test_styles_load_nothing_from_elsewhere(site):
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    styles += "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.html"))
    loaded = re.findall(r"url\(\s*[\"']?((?:https?:)?//[^)\"']+)|@import\s+[\"']((?:https?:)?//[^\"']+)", styles)
    assert loaded == []


def test_links_go_only_to_the_site(site):
    linked = {
        address
        for page in site.rglob("*.html")
        for address in re.findall(r'<a [^>]*href="(https?://[^"]+)"', page.read_text(encoding="utf-8"))
    }
    assert linked == set()


def test_command_reference_has_every_command_and_option(site):
    page = (site / "command-line" / "index.html").read_text(encoding="utf-8")
    commands = subprocess.run(
        [sys.executable, "-c", "from evalkit.cli.app import _COMMANDS; print(*_COMMANDS)"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout.split()  # fmt: skip
    assert set(re.findall(r'id="python-m-evalkit-(\w+)"', page)) == set(commands)
    assert {option.flag for option in OPTIONS.values() if option.flag not in page} == set()
    assert "-m mkdocs" not in page


def test_python_reference_has_the_texts_of_the_options(site):
    page = (site / "python-api" / "index.html").read_text(encoding="utf-8")
    assert "Random seed" in page
    assert "{seed}" not in page
    for name in ("evaluate", "explain", "save", "open_run", "Run.best_patch_size", "BlackBox"):
        assert f'id="evalkit.{name}"' in page, name


def test_search_finds_words_of_pages(site):
    documents = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    for word, page in (
        ("Krippendorff", "metrics-on-trial/"),
        ("--patch-sizes", "command-line/"),
        ("substrate", "glossary/"),
    ):
        assert any(word in document["text"] and document["location"].startswith(page) for document in documents), word
