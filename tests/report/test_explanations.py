"""The table of ``explain`` at 80 columns: names of files are whole."""

from __future__ import annotations

import pytest

from evalkit.report.tables.explanations import Explained, TopClass, render_explained


def row(image, explainer="gradcam", label="heart"):
    top = (TopClass(0, label, 0.5),)
    return Explained(image, explainer, 0, label, 0.5, (120, 3), "", 0.5, "p.png", "p.npy", True, top)


def table(names, label="heart"):
    rows = [row(name, explainer, label) for name in names for explainer in ("gradcam", "occlusion(patch_size=40)")]
    return render_explained(rows, "table", width=80, color=False)


@pytest.mark.parametrize(
    "names",
    [
        ["a.jpg", "scene-00003"],
        ["ILSVRC2012_val_00000081.JPEG", "b.jpg"],
        ["a photo with spaces in its name that fills nearly all of the eighty columns.jpg"],
        ["x" * 76 + ".jpg"],
        ["\N{CJK UNIFIED IDEOGRAPH-732B}" * 30 + ".jpg"],
    ],
)
def test_names_of_files_are_whole(names):
    lines = table(names).split("How to read this")[0].splitlines()
    for name in names:
        assert any(name in line for line in lines)
    assert not any("..." in line or "\N{HORIZONTAL ELLIPSIS}" in line for line in lines)


def test_short_names_share_a_table_and_long_ones_have_their_own():
    assert table(["a.jpg", "b.jpg"]).count("seconds") == 1
    assert table(["a.jpg", "ILSVRC2012_val_00000081.JPEG"]).count("seconds") == 2
    assert table(["a.jpg", "b.jpg"], label="a class whose name is longer than the room").count("seconds") == 2


def test_other_formats_have_one_table():
    rows = [row("ILSVRC2012_val_00000081.JPEG"), row("b.jpg")]
    assert render_explained(rows, "markdown", width=80, color=False).count("seconds") == 1
