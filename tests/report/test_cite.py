"""``show --cite``: a methods paragraph with every setting, and BibTeX."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from evalkit.analysis.leaderboard import analyse
from evalkit.core.errors import ConfigError
from evalkit.metrics.catalog import METRICS
from evalkit.report import render_citation
from tests.builders import explainer_facts, score_table
from tests.builders import manifest as build_manifest

EXPLAINERS = (
    explainer_facts("gradcam", parameters={"layer": "block5_conv3"}),
    explainer_facts("maps(drawn)", parameters={"folder": "/home/me/drawn"}),
    explainer_facts("random", parameters={"seed": 7}, control=True),
)
SPECS = ("deletion", "pointing_game", "max_sensitivity")
GOLDEN = """\
Saliency maps were computed and scored with evalkit 0.1.0 (TensorFlow 2.21.0, Keras 3.15.1, numpy 2.4.6), whose
documentation defines every explainer and metric. The model was vgg16.keras (input 224 x 224 x 3; 10 classes; head:
softmax; preprocessing: vgg16; precision: float32; layer of CAM methods: block5_conv3; fingerprint
ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff). The data: 8 images of labels.csv (6 with a region; 2
not usable; selection: limit=8, region_area=0.02..0.5; class order: by name; fitted to the input by squash; sha256 over
all images dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd). Masks were cut at half. The model was
right on 6 images (75.0 %); over all images, its score of the target had a median of 0.900 and exceeded 0.999 on 20 %.
The class explained was that of the label. Explainers: gradcam (version 1, layer=block5_conv3); maps(drawn) (maps from
files). Controls, which do not depend on the model: random (version 1, seed=7). Metrics: deletion (version 1, steps=28,
ties=levels, score=softmax, substrate=mean; lower is better); pointing_game (version 1, tolerance_px=15.0; higher is
better); max_sensitivity (version 1, samples=10, radius=5.1). Random seed: 7. Intervals are of 95 %, over images: those
of means of bounded scores with one unseen image at the end of the range (Gaffke 2005); those of means of unbounded
scores by the BCa bootstrap (300 resamples). Explainers were compared within each metric by tests of means paired by
image (studentized bootstrap, 300 resamples, max-T over up to 3 pairs, and one unseen image of the opposite kind), 5 %
family-wise, without a correction between metrics. Not scored: 2 images: misclassified (deletion; every explainer).
Signature: run|target:label|geometry:squash.

@software{evalkit,
  author = {{The evalkit authors}},
  title = {evalkit: How good is a visual explanation?},
  version = {0.1.0},
  year = {2026},
  license = {Apache-2.0},
}
"""


@pytest.fixture(scope="module")
def small():
    """The manifest and analysis of three explainers on eight images, two of them misclassified."""
    manifest = build_manifest(
        EXPLAINERS,
        SPECS,
        model={"accuracy": 0.75, "n_right": 6, "median_clean_score": 0.9, "saturated_share": 0.2},
        data={
            "n_images": 8, "n_unreadable": 2, "n_regions": 6, "fingerprint": "d" * 64, "class_order": "by name",
            "notes": ("Masks were cut at half",),
        },
        settings={"limit": 8, "seed": 7, "chosen": {"region_area": "0.02..0.5"}},
        versions={"evalkit": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"},
    )  # fmt: skip
    return manifest, analysed(manifest)


def analysed(manifest):
    texts = [one.text for one in manifest.explainers]
    values = np.random.default_rng(3).random((8, len(texts), len(SPECS)))
    values[6:, :, 0] = np.nan
    reasons = {(text, "deletion"): {"misclassified": 2} for text in texts}
    table = score_table(values, texts, SPECS, reasons=reasons)
    metrics = [METRICS.build(text) for text in SPECS]
    return analyse(table, metrics, manifest.explainers, seed=0, n_resamples=300, n_test_resamples=300)


def test_citation_has_every_setting(small):
    assert render_citation(*small, "table", width=120) == GOLDEN
    assert render_citation(*small, "markdown", width=120) == GOLDEN


def test_citation_has_no_path_of_the_machine(small):
    assert "/home/me" not in render_citation(*small, "json", width=80)


def test_citation_fits_the_width(small):
    lines = render_citation(*small, "table", width=80).splitlines()
    assert all(len(line) <= 80 or " " not in line for line in lines)


def test_citation_as_latex_is_escaped(small):
    text = render_citation(*small, "latex", width=80)
    assert r"pointing\_game" in text
    assert r"75.0 \%" in text
    assert r"run\textbar{}target" in text
    assert "\nauthor" not in text
    assert "  author = {{The evalkit authors}}," in text


def test_citation_as_json(small):
    document = json.loads(render_citation(*small, "json", width=80))
    assert set(document) == {"methods", "bibtex"}
    assert " ".join(GOLDEN.partition("\n\n")[0].split()) == document["methods"]


def test_citation_is_no_csv(small):
    with pytest.raises(ConfigError, match="--format csv cannot hold; allowed: table, markdown, latex, json"):
        render_citation(*small, "csv", width=80)


def test_citation_of_a_sweep_names_the_rule(manifest, results):
    text = render_citation(manifest, results, "json", width=80)
    rule = "Parameters were chosen by symmetric_relevance_gain: the cheapest variant whose loss to the best is shown"
    assert rule in text
    assert "those of scores of the whole set by resampling the images" in text


def test_citation_of_an_undecided_choice_says_so(manifest, results):
    choice = results.best_patch_size
    rule = "; where none is shown to be, the one with the best mean, called undecided (multiple"
    for decided in (True, False):
        changed = msgspec.structs.replace(choice, decided=decided)
        text = render_citation(manifest, msgspec.structs.replace(results, best_patch_size=changed), "json", width=80)
        assert (rule in text) != decided


def test_citation_names_the_intervals_of_sanity_checks():
    metrics = [METRICS.build("emprt")]
    manifest = build_manifest(EXPLAINERS, ["emprt"])
    table = score_table(np.random.default_rng(3).random((8, 3, 1)), [one.text for one in EXPLAINERS], ["emprt"])
    results = analyse(table, metrics, EXPLAINERS, seed=0, n_resamples=300)
    text = render_citation(manifest, results, "json", width=80)
    assert "Intervals are of 95 %, over images: those of means of unbounded scores by the BCa bootstrap" in text


def test_citation_of_maps_from_files_does_not_say_computed(small):
    manifest, results = small
    manifest = msgspec.structs.replace(manifest, explainers=EXPLAINERS[1:])  # and a control
    assert "Saliency maps were scored with evalkit" in render_citation(manifest, results, "json", width=80)


def test_citation_counts_one_image_and_several_of_a_photo():
    one = build_manifest(EXPLAINERS, SPECS, data={"n_images": 1}, model={"accuracy": 1.0, "n_right": 1})
    results = analysed(one)
    text = render_citation(one, msgspec.structs.replace(results, n_images=1), "json", width=80)
    assert "The data: 1 image of labels.csv" in text
    assert "right on 1 image (100.0 %)" in text
    several = build_manifest(EXPLAINERS, SPECS, data={"n_images": 12})
    text = render_citation(several, results, "json", width=80)
    assert "The data: 12 entries of 8 photos, each photo counted once by their mean, of labels.csv" in text


def test_show_and_run_cite_alike(evalkit, tricky_run):
    done = evalkit("show", tricky_run.path, "--cite")
    assert done.code == 0, done.err
    assert done.out == tricky_run.cite(width=120)
    assert "The class explained was the one that the model predicts." in " ".join(done.out.split())


def test_show_cites_or_lists_images(evalkit, tricky_run):
    done = evalkit("show", tricky_run.path, "--cite", "--per-image")
    assert done.code == 2
    assert done.err == "evalkit: --cite and --per-image print different things; give one of them\n"
