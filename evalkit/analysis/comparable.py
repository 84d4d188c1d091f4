"""What several runs share: explainers and metrics of equal settings, and equal images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.load import RunScores
from evalkit.core.errors import NotComparableError
from evalkit.metrics.spec import Metric
from evalkit.store.identity import image_keys
from evalkit.store.scores import first_rows

__all__ = ["Shared", "differing", "differing_settings", "n_photos", "shared_by"]


class Shared(NamedTuple):
    """What all runs have.

    Attributes:
        explainers: texts of the explainers.
        metrics: the metrics.
        rows: for each run, the rows of the shared images.
        units: (n,), which of the shared images are entries of one photo.
        left_out: what is not shared and why, one sentence each.
    """

    explainers: list[str]
    metrics: list[Metric]
    rows: list[list[int]]
    units: NDArray[np.int64]
    left_out: list[str]


def shared_by(runs: Sequence[RunScores], metrics: Sequence[Metric], letters: Sequence[str]) -> Shared:
    """Return what all runs share.

    Args:
        runs: two or more.
        metrics: the metrics of the first run.
        letters: the name of each run in messages.

    Raises:
        NotComparableError: target or geometry differ, or no image, explainer or metric is shared.
    """
    first = runs[0]
    for run, letter in zip(runs[1:], letters[1:], strict=True):
        for setting in ("target", "geometry"):
            before, after = getattr(first.manifest.settings, setting), getattr(run.manifest.settings, setting)
            if before != after:
                raise NotComparableError(
                    f"'{first.name}' and '{run.name}' are not comparable: {setting} is {before} in A and {after} in "
                    f"{letter}; run both with the same --{setting}"
                )
    left_out: list[str] = []
    explainers = _common("explainer", [run.manifest.signature.explainers for run in runs], letters, left_out)
    texts = _common("metric", [run.manifest.signature.metrics for run in runs], letters, left_out)
    rows, images_left_out = _shared_images(runs)
    for kind, shared in (("explainer", explainers), ("metric", texts), ("image", rows[0])):
        if not shared:
            reasons = images_left_out if kind == "image" else left_out
            why = f": {'; '.join(reasons)}" if left_out or images_left_out else ""
            raise NotComparableError(
                f"{', '.join(repr(run.name) for run in runs)} are not comparable: no {kind} is the same in all{why}"
            )
    by_text = {metric.text: metric for metric in metrics}
    # Entries of one photo count as one, by their mean.
    _, units = first_rows([first.images[row].sha256 for row in rows[0]])
    return Shared(explainers, [by_text[text] for text in texts], rows, units, [*left_out, *images_left_out])


def _common(kind: str, lines: Sequence[dict[str, str]], letters: Sequence[str], left_out: list[str]) -> list[str]:
    """Return the texts whose signature is the same in all runs, and append to ``left_out`` why others are not."""
    common = []
    for text, line in lines[0].items():
        without = [letter for letter, of_run in zip(letters, lines, strict=True) if text not in of_run]
        if without:
            left_out.append(f"{kind} {text}: not in {', '.join(without)}")
            continue
        other = next((index for index, of_run in enumerate(lines) if of_run[text] != line), None)
        if other is None:
            common.append(text)
        else:
            left_out.append(f"{kind} {text}: {differing(line, lines[other][text], 'A', letters[other])}")
    for letter, of_run in zip(letters[1:], lines[1:], strict=True):
        left_out += [f"{kind} {text}: only in {letter}" for text in of_run if text not in lines[0]]
    return common


def differing(first: str, other: str, here: str, there: str) -> str:
    """Name the settings in which two signature lines differ.

    >>> differing("occlusion|v:1|fill:black", "occlusion|v:1|fill:gray", "A", "B")
    'fill is black in A, gray in B'
    """
    settings, others = _settings(first), _settings(other)
    named = [
        f"{'version' if key == 'v' else key} is {settings.get(key, 'not set')} in {here}, "
        f"{others.get(key, 'not set')} in {there}"
        for key in differing_settings(first, other)
    ]
    return ", ".join(named) or f"'{first}' in {here}, '{other}' in {there}"


def differing_settings(first: str, other: str) -> list[str]:
    """Return the keys in which two signature lines differ."""
    settings, others = _settings(first), _settings(other)
    return [key for key in {**settings, **others} if settings.get(key) != others.get(key)]


def _settings(line: str) -> dict[str, str]:
    return dict(part.partition(":")[::2] for part in line.split("|")[1:])


def _shared_images(runs: Sequence[RunScores]) -> tuple[list[list[int]], list[str]]:
    """Return, for each run, the rows of the images that all runs hold, in the first run's order, and what is left out.

    An image is the same where content, class and region are. What is left out is counted in photos; entries of photos
    that are shared by other entries are counted apart.
    """
    rows_by_key = [image_keys(run.images) for run in runs]
    photo_of = {key: runs[0].images[row].sha256 for key, row in rows_by_key[0].items()}
    common = [key for key in rows_by_key[0] if all(key in rows for rows in rows_by_key)]
    shared = {photo_of[key] for key in common}
    left_out = []
    unread = max(sum(not row.sha256 for row in run.images) for run in runs)
    if unread:
        left_out.append(f"{unread} of up to {max(map(n_photos, runs))} images could not be read in at least one run")
    most = max(len({row.sha256 for row in run.images if row.sha256}) for run in runs)
    if len(shared) < most - unread or not common:
        why = "" if common else _first_difference(runs)
        left_out.append(f"{most - len(shared)} of up to {most} images are not the same in every run{why}")
    entries = max(sum(row.sha256 in shared for row in run.images) for run in runs)
    if len(common) < entries:
        left_out.append(f"{entries - len(common)} of up to {entries} entries of shared images are not in every run")
    if runs[0].manifest.settings.target == "predicted":
        agreed = [
            key
            for key in common
            if len({run.images[rows[key]].target for run, rows in zip(runs, rows_by_key, strict=True)}) == 1
        ]
        different = len(shared) - len({photo_of[key] for key in agreed})
        if different:
            left_out.append(f"{different} images: the models explain different classes")
        common = agreed
    return [[rows[key] for key in common] for rows in rows_by_key], left_out


def n_photos(run: RunScores) -> int:
    """Return the number of a run's photos; entries of one photo count once, photos that cannot be read each."""
    return len({row.sha256 or f"id:{row.image_id}" for row in run.images})


def _first_difference(runs: Sequence[RunScores]) -> str:
    """Name what differs between the first two images of equal content, if there are any."""
    first = {row.sha256: row for row in runs[0].images if row.sha256}
    names = {"class_index": "class index", "label": "label", "place": "region"}
    for run in runs[1:]:
        for row in run.images:
            other = first.get(row.sha256)
            for field, name in names.items():
                if other is not None and getattr(other, field) != getattr(row, field):
                    before, after = getattr(other, field), getattr(row, field)
                    return f" (their content is, but the {name} is '{before}' in A and '{after}' in '{run.name}')"
    return ""
