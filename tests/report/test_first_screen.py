"""The first screen of the HTML report: what was run, the answers, one row of pictures, one leaderboard."""

from __future__ import annotations

import re

import numpy as np
import pytest

import evalkit as package
from evalkit.analysis.load import table_of
from evalkit.analysis.service import results_of
from evalkit.report.html.first_screen import screen_texts
from evalkit.report.tables.answers import answers
from evalkit.report.tables.leaderboard import number
from evalkit.report.tables.screen import screen_of
from evalkit.store.run_folder import RunFolder

from .parsed import Page


@pytest.fixture(scope="session")
def page(written):
    return Page(written.read_text(encoding="utf-8"))


def part(path, start, end):
    """Return the page from the first of a text to the next of another."""
    text = path.read_text(encoding="utf-8")
    return text[text.index(start) : text.index(end, text.index(start))]


def captions(path):
    found = re.findall(r"<figcaption>(.*?)</figcaption>", part(path, '<div class="row">', "</section>"), re.DOTALL)
    return [" ".join(re.sub(r"<wbr>|<[^>]+>", " ", one).split()) for one in found]


def scores_of(path, metric):
    folder = RunFolder.read(path)
    manifest, results = results_of(folder)
    table = table_of(folder, manifest)
    folder.close()
    return table, table.values[:, :, table.metrics.index(metric)], results


def test_what_was_run_and_the_answers_come_first(written, tricky_run):
    folder = RunFolder.read(tricky_run.path)
    manifest, results = results_of(folder)
    folder.close()
    first = part(written, "<main", 'id="leaderboard"')
    assert screen_of(manifest, results).about in Page(part(written, "<header", "<nav")).text
    found = re.findall(r"<h2>([^<]*)</h2>", first)
    assert found == [answer.question for answer in answers(manifest, results)]


def test_the_leaderboard_is_that_of_the_terminal(written, tricky_run):
    folder = RunFolder.read(tricky_run.path)
    screen = screen_of(*results_of(folder))
    folder.close()
    board = part(written, 'id="leaderboard"', "</section>")
    assert re.findall(r'<td class="name" data-value="([^"]*)"', board) == [row.explainer for row in screen.rows]
    assert re.findall(r'<td class="letter"[^>]*>([^<]*)</td>', board) == [
        row.mark.replace(">", "&gt;") for row in screen.rows
    ]
    assert board.count("data-better=") == 1 + len(screen.columns) + 1
    text = Page(f"<section {board}</section>").text
    for line in screen.legend:
        assert line in text


def test_plots_and_gallery_come_before_the_folded_tables(written):
    text = written.read_text(encoding="utf-8")
    order = ["leaderboard", "patch-size", "object-size", "curves", "gallery", "all-metrics", "audit", "cost", "again"]
    places = [text.index(f'id="{anchor}"') for anchor in order]
    assert places == sorted(places)
    assert "<details open" not in text
    folded = re.findall(r'<details class="card fold">\n<summary>.*?</summary>\n<div class="folded" id="([\w-]+)"', text)
    assert folded == ["all-metrics", "audit", "not-scored", "cost", "again"]
    assert part(written, '<section id="patch-size" class="card"', "</section>").count("<table>") == 2


def test_the_row_has_the_best_the_worst_and_a_control(written, tricky_run):
    criterion = tricky_run.manifest.settings.criterion
    table, values, results = scores_of(tricky_run.path, criterion)
    ranked = sorted((cell for cell in results.leaderboard if cell.metric == criterion), key=lambda cell: cell.rank)
    entrants = [cell.explainer for cell in ranked if cell.explainer not in ("uniform", "random")]
    control = next(cell.explainer for cell in ranked if cell.explainer in ("uniform", "random"))
    shown = [entrants[0], entrants[-1], control]
    row = part(written, '<div class="row">', "</section>")
    assert row.count("<img") == 4
    roles = ["best explainer", "worst explainer", "best control"]
    name = re.search(r"Image <bdi>(.*?)</bdi>", row)[1]
    scores = values[[f" {place} " in f" {name.split()[-1]} " for place in range(10)]][0]
    for caption, role, explainer in zip(captions(written)[1:], roles, shown, strict=True):
        score = scores[table.explainers.index(explainer)]
        assert caption.startswith(f"{role} {explainer.replace('(', ' (')} gain {number(score)}"), caption


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    """Return a function that runs explainers on a few images and writes the report."""

    def made(explainers, *, wrong=(), count=6, regions=True, **options):
        rng = np.random.default_rng(3)
        pixels = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        right = tiny_model.predict(pixels.astype(np.float32), verbose=0).argmax(axis=1)
        labels = [(label + (place in wrong)) % 3 for place, label in enumerate(right)]
        masks = np.zeros((count, 32, 32), bool)
        masks[:, 8:20, 8:20] = True
        images = package.ImageSet.from_arrays(pixels, labels, masks if regions else None)
        done = package.evaluate(
            tiny_model, images, explainers=explainers, steps=4, progress=False,
            output=tmp_path_factory.mktemp("first") / "run", **{"metrics": "symmetric_relevance_gain", **options},
        )  # fmt: skip
        return done, done.report(images=images)

    return made


def test_the_photo_is_right_and_closest_to_the_means(run):
    done, page = run(["gradcam", "occlusion(patch_size=8)", "random"], wrong=[0, 2], target="predicted")
    table, values, results = scores_of(done.path, "symmetric_relevance_gain")
    means = [cell.mean for text in table.explainers for cell in results.leaderboard if cell.explainer == text]
    distances = np.abs(values - means).mean(axis=1)
    distances[[0, 2]] = np.inf
    assert f"Image <bdi>{table.image_ids[int(distances.argmin())]}</bdi>: of the images that the model classifies" in (
        page.read_text(encoding="utf-8")
    )


def test_of_misclassified_images_one_is_shown_and_said(run):
    _, page = run(["gradcam", "random"], wrong=range(6), target="predicted")
    row = part(page, '<section class="pictures"', "</section>")
    assert row.count("<img") == 3
    assert "The model misclassifies it." in row
    assert "explained: " in captions(page)[0]  # the maps are of another class than the label


@pytest.mark.parametrize(
    ("explainers", "roles"),
    [
        (["gradcam"], ["map gradcam gain"]),
        (["gradcam", "random"], ["map gradcam gain", "control random gain"]),
        (["random", "uniform"], ["best control", "worst control"]),
        (["gradcam", "occlusion(patch_size=8)"], ["best explainer", "worst explainer"]),
    ],
)
def test_the_row_has_what_the_run_has(run, explainers, roles):
    _, page = run(explainers, regions=False)
    found = captions(page)
    assert found[0] == "photo"
    assert len(found) == 1 + len(roles)
    assert all(caption.startswith(role) for caption, role in zip(found[1:], roles, strict=True)), found


def test_one_image_has_a_first_screen(run):
    _, page = run(["gradcam", "occlusion(patch_size=8)", "random"], count=1)
    text = Page(page.read_text(encoding="utf-8")).text
    assert "the only one that is scored for all of these." in text
    assert "no patch size is recommended: only one patch size was run" in text


def test_a_run_without_scores_says_so_and_why(run):
    _, page = run(["gradcam", "random"], wrong=range(6))
    assert "No image was scored; " in Page(page.read_text(encoding="utf-8")).text
    assert '<a href="#not-scored">why</a>' in page.read_text(encoding="utf-8")
    assert 'class="pictures"' not in page.read_text(encoding="utf-8")


def test_without_a_ranked_metric_no_image_is_called_unscored(run):
    _, page = run(["gradcam", "random"], metrics="sparseness")
    answers_part = part(page, '<section class="answers"', "</section>")
    assert "No explainer has a rank: every metric here either only describes maps" in answers_part
    assert "No image was scored" not in answers_part


def test_a_score_of_the_whole_set_has_no_row_of_pictures(run):
    _, page = run(["gradcam", "random"], metrics="pxap")
    assert 'class="pictures"' not in page.read_text(encoding="utf-8")
    assert len(re.findall(r'<td class="letter"', part(page, 'id="leaderboard"', "</section>"))) == 2


def test_without_photos_a_sentence_takes_the_place_of_the_row(tricky_run, tmp_path):
    alone = tricky_run.report(tmp_path / "alone.html")
    row = part(alone, '<section class="pictures"', "</section>")
    assert "The photos cannot be shown: the run does not record where its photos are." in row
    assert "<img" not in row


def test_the_answers_are_those_of_the_terminal(manifest, results):
    shown = screen_texts(screen_of(manifest, results), results)["answers"]
    for texts, answer in zip(shown, answers(manifest, results), strict=True):
        assert answer.brief.endswith(texts["lead"] + texts["rest"])
        assert texts["lead"] in (answer.main.removesuffix(" (undecided)"), answer.brief.partition(";")[0])
        assert texts["question"]


def test_changed_photos_are_not_shown_in_the_row(tricky_run, images, tmp_path):
    pixels = np.zeros((len(images), 32, 32, 3), np.uint8)
    ids = [image.id for image in images]
    other = package.ImageSet.from_arrays(pixels, [0] * len(ids), ids=ids)
    row = part(tricky_run.report(tmp_path / "changed.html", images=other), '<section class="pictures"', "</section>")
    assert "The photos cannot be shown: they are missing or have changed." in row
    assert "<img" not in row
