"""``--keep-maps``: what it takes, and what a run without all of its maps says."""

from __future__ import annotations

import pytest

from evalkit.core.errors import ConfigError
from evalkit.core.kept_maps import KeptMaps, read_kept_maps


@pytest.mark.parametrize(
    ("written", "read", "text"),
    [
        ("all", KeptMaps(None), "all"),
        ("none", KeptMaps(0), "none"),
        ("0", KeptMaps(0), "none"),
        (0, KeptMaps(0), "none"),
        ("100", KeptMaps(100), "100"),
        (100, KeptMaps(100), "100"),
        ("all, float16", KeptMaps(None, half=True), "all,float16"),
        ("7,float16", KeptMaps(7, half=True), "7,float16"),
    ],
)
def test_what_is_written_is_read_and_written_again(written, read, text):
    found = read_kept_maps("--keep-maps", written)
    assert (found, str(found)) == (read, text)
    assert read_kept_maps("--keep-maps", text) == read


@pytest.mark.parametrize(
    "written", ["", "some", "-1", -1, 1.5, True, "all,float64", "none,float16", "1,2", "all,", None, "9" * 12]
)
def test_what_else_is_written_is_refused(written):
    with pytest.raises(
        ConfigError, match=r"--keep-maps .* is not allowed; write all, none or a number of images; with"
    ):
        read_kept_maps("--keep-maps", written)


def test_the_first_images_keep_their_maps():
    assert [KeptMaps(2).keeps(position) for position in range(3)] == [True, True, False]
    assert KeptMaps().keeps(10**6)
    assert not KeptMaps(0).keeps(0)


def test_a_run_says_what_it_cannot_do():
    assert KeptMaps().notes == ()
    for kept, begin in (
        (KeptMaps(0), "no maps are kept (--keep-maps none): the report shows none, and metrics that are added later"),
        (KeptMaps(3), "maps of the first 3 images are kept (--keep-maps 3): the report shows these"),
        (
            KeptMaps(None, half=True),
            "the maps of all images are kept as float16, for pictures only (--keep-maps all,",
        ),
    ):
        (note,) = kept.notes
        assert note.startswith(begin)
