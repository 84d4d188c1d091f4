"""The same explainers in several runs - other models, precisions, versions - paired by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.load import RunScores
from evalkit.analysis.statistics.intervals import Interval, Resampling, bca_means, bca_statistic
from evalkit.analysis.statistics.permutation_tests import ALPHA, compare_means, compare_sets, sign_flips
from evalkit.analysis.verdicts import ComparedCell, ComparedRun, Comparison
from evalkit.core.errors import NotComparableError
from evalkit.core.randomness import generator
from evalkit.metrics.spec import Metric, SetMetric
from evalkit.store.identity import image_keys
from evalkit.store.scores import first_rows, mean_of_units

__all__ = ["compare_runs", "differing", "differing_settings"]

Floats = NDArray[np.float64]
_SET_DRAWS = 1_000  # dataset-level metrics are computed anew for each flip and resample


class _Shared(NamedTuple):
    """What all runs have: texts, for each run the rows of the shared images, and which of these are of one photo."""

    explainers: list[str]
    metrics: list[Metric]
    rows: list[list[int]]
    units: NDArray[np.int64]
    left_out: list[str]


def compare_runs(
    runs: Sequence[RunScores],
    metrics: Sequence[Metric],
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
    n_flips: int = 10_000,
) -> Comparison:
    """Hold every later run against the first, explainer by explainer, on the images that both scored.

    An image is the same where content, class and place of the object are. The tests of one metric, over all explainers
    and later runs, are one family (paired sign flips, max-T).

    Args:
        runs: two or more.
        metrics: of the first run, in its order.
        seed: of resampling and flips.
        n_resamples: bootstrap resamples.
        n_flips: sign flips a metric.

    Raises:
        NotComparableError: target or geometry differ, or no image, explainer or metric is shared.
    """
    letters = [_letter(index) for index in range(len(runs))]
    shared = _shared(runs, metrics, letters)
    columns = [[run.table.explainers.index(text) for text in shared.explainers] for run in runs]
    draws = Resampling(seed, n_resamples)
    cells: list[ComparedCell] = []
    for metric in shared.metrics:
        wanted = min(n_flips, _SET_DRAWS) if isinstance(metric, SetMetric) else n_flips
        flips = sign_flips(generator(seed, "sign flips", metric.name), int(shared.units.max()) + 1, wanted)
        family = _Family(runs, shared, columns, metric, flips, draws)
        cells += family.cells(letters)
    return Comparison(
        runs=tuple(_described(run, letter) for run, letter in zip(runs, letters, strict=True)),
        n_shared=len(shared.rows[0]),
        cells=tuple(cells),
        differs=tuple(_differences(runs, letters)),
        left_out=tuple(shared.left_out),
        n_flips=n_flips,
        n_resamples=n_resamples,
    )


@dataclass(frozen=True, eq=False)
class _Family:
    """The comparisons of one metric: columns are explainer by explainer, run by run."""

    runs: Sequence[RunScores]
    shared: _Shared
    columns: Sequence[Sequence[int]]
    metric: Metric
    flips: tuple[NDArray[np.int8], bool]
    draws: Resampling

    def cells(self, letters: Sequence[str]) -> Iterator[ComparedCell]:
        n_runs = len(self.runs)
        pairs = np.array(
            [
                (place * n_runs + later, place * n_runs)
                for place in range(len(self.shared.explainers))
                for later in range(1, n_runs)
            ]
        )
        signs, exact = self.flips
        if isinstance(self.metric, SetMetric):
            numbers = self._stacked(sets=True)
            family = compare_sets(numbers, self.metric.aggregate, signs, exact=exact, pairs=pairs)
        else:
            numbers = self._stacked(sets=False)
            family = compare_means(numbers[..., 0], signs, exact=exact, pairs=pairs)
        sign = 1.0 if self.metric.spec.direction == "higher" else -1.0
        for (late, first), p_value in zip(pairs, family.p_values, strict=True):
            both = np.isfinite(numbers[:, [late, first]]).all(axis=(1, 2))
            n_images = int(both.sum())
            later, earlier = numbers[both, late], numbers[both, first]
            mean, first_mean = self._score(later), self._score(earlier)
            interval = self._interval(later, earlier)
            difference = None if mean is None or first_mean is None else mean - first_mean
            yield ComparedCell(
                explainer=self.shared.explainers[first // n_runs],
                metric=self.metric.text,
                direction=self.metric.spec.direction,
                run=letters[late % n_runs],
                first_mean=first_mean,
                mean=mean,
                difference=difference,
                ci_low=interval.low,
                ci_high=interval.high,
                ci_reason=(interval.reason or "").replace("all scores", "all differences") or None,
                n_images=n_images,
                p_value=float(p_value) if n_images >= 2 else None,
                verdict=_verdict(difference, float(p_value), sign),
            )

    def _stacked(self, *, sets: bool) -> Floats:
        """Return float64 (n, E * R, K), NaN = not scored; K is 1 for scores an image."""
        found = []
        for run, rows, places in zip(self.runs, self.shared.rows, self.columns, strict=True):
            if sets:
                known = run.table.statistics.get(self.metric.text)
                numbers = np.full((len(rows), len(places), 1), np.nan) if known is None else known[rows][:, places]
            else:
                index = run.table.metrics.index(self.metric.text)
                numbers = run.table.values[rows][:, places, index][..., None]
            found.append(mean_of_units(numbers, self.shared.units))
        longest = max(one.shape[2] for one in found)
        found = [one if one.shape[2] == longest else np.repeat(one, longest, axis=2) for one in found]
        stacked = np.stack(found, axis=2)
        return stacked.reshape(len(stacked), -1, longest)

    def _score(self, numbers: Floats) -> float | None:
        if not len(numbers):
            return None
        mean = numbers.mean(axis=0)
        score = float(self.metric.aggregate(mean)) if isinstance(self.metric, SetMetric) else float(mean[0])
        return score if np.isfinite(score) else None

    def _interval(self, later: Floats, earlier: Floats) -> Interval:
        counts = self.draws.counts(max(len(later), 1))
        if not isinstance(self.metric, SetMetric):
            return bca_means(later - earlier, counts)[0]
        aggregate, size = self.metric.aggregate, later.shape[1]
        return bca_statistic(
            np.concatenate([later, earlier], axis=1),
            counts[:_SET_DRAWS],
            lambda means: aggregate(means[..., :size]) - aggregate(means[..., size:]),
        )


def _verdict(difference: float | None, p_value: float, sign: float) -> str:
    if difference is None:
        return "not scored"
    if p_value >= ALPHA or difference == 0:
        return "tied"
    return "better" if difference * sign > 0 else "worse"


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"R{index + 1}"


def _shared(runs: Sequence[RunScores], metrics: Sequence[Metric], letters: Sequence[str]) -> _Shared:
    first = runs[0]
    for run, letter in zip(runs[1:], letters[1:], strict=True):
        for setting in ("target", "geometry"):
            one, other = getattr(first.manifest.settings, setting), getattr(run.manifest.settings, setting)
            if one != other:
                raise NotComparableError(
                    f"'{first.name}' and '{run.name}' are not comparable: {setting} is {one} in A and {other} in "
                    f"{letter}; run both with the same --{setting}"
                )
    left_out: list[str] = []
    explainers = _common("explainer", [run.manifest.signature.explainers for run in runs], letters, left_out)
    texts = _common("metric", [run.manifest.signature.metrics for run in runs], letters, left_out)
    rows, said = _shared_images(runs)
    for what, found in (("explainer", explainers), ("metric", texts), ("image", rows[0])):
        if not found:
            why = f": {'; '.join(said if what == 'image' else left_out)}" if left_out or said else ""
            raise NotComparableError(
                f"{', '.join(repr(run.name) for run in runs)} are not comparable: no {what} is the same in all{why}"
            )
    known = {metric.text: metric for metric in metrics}
    # Entries of one photo count as one, by their mean.
    _, units = first_rows([first.images[row].sha256 for row in rows[0]])
    return _Shared(explainers, [known[text] for text in texts], rows, units, [*left_out, *said])


def _common(kind: str, lines: Sequence[dict[str, str]], letters: Sequence[str], left_out: list[str]) -> list[str]:
    """Return the texts whose signature is the same in all runs, and say what keeps the others out."""
    common = []
    for text, line in lines[0].items():
        without = [letter for letter, one in zip(letters, lines, strict=True) if text not in one]
        if without:
            left_out.append(f"{kind} {text}: not in {', '.join(without)}")
            continue
        other = next((at for at, one in enumerate(lines) if one[text] != line), None)
        if other is None:
            common.append(text)
        else:
            left_out.append(f"{kind} {text}: {differing(line, lines[other][text], 'A', letters[other])}")
    for letter, one in zip(letters[1:], lines[1:], strict=True):
        left_out += [f"{kind} {text}: only in {letter}" for text in one if text not in lines[0]]
    return common


def differing(first: str, other: str, here: str, there: str) -> str:
    """Name the settings in which two signature lines differ.

    >>> differing("occlusion|v:1|fill:black", "occlusion|v:1|fill:gray", "A", "B")
    'fill is black in A, gray in B'
    """
    one, two = _settings(first), _settings(other)
    named = [
        f"{'version' if key == 'v' else key} is {one.get(key, 'not set')} in {here}, "
        f"{two.get(key, 'not set')} in {there}"
        for key in differing_settings(first, other)
    ]
    return ", ".join(named) or f"'{first}' in {here}, '{other}' in {there}"


def differing_settings(first: str, other: str) -> list[str]:
    """Return the keys in which two signature lines differ."""
    one, two = _settings(first), _settings(other)
    return [key for key in {**one, **two} if one.get(key) != two.get(key)]


def _settings(line: str) -> dict[str, str]:
    return dict(part.partition(":")[::2] for part in line.split("|")[1:])


def _shared_images(runs: Sequence[RunScores]) -> tuple[list[list[int]], list[str]]:
    """Return, for each run, the rows of the images that all runs hold, in the first run's order."""
    places = [image_keys(run.images) for run in runs]
    common = [key for key in places[0] if all(key in one for one in places)]
    said = []
    unread = max(sum(not row.sha256 for row in run.images) for run in runs)
    if unread:
        said.append(f"{unread} of up to {max(len(run.images) for run in runs)} images could not be read in some run")
    most = max(map(len, places))
    if len(common) < most - unread or not common:
        why = "" if common else _why_none_agree(runs)
        said.append(f"{most - len(common)} of up to {most} images are not the same in every run{why}")
    if runs[0].manifest.settings.target == "predicted":
        agreed = [
            key
            for key in common
            if len({run.images[place[key]].target for run, place in zip(runs, places, strict=True)}) == 1
        ]
        if len(agreed) < len(common):
            said.append(f"{len(common) - len(agreed)} images: the models explain different classes")
        common = agreed
    return [[place[key] for key in common] for place in places], said


def _why_none_agree(runs: Sequence[RunScores]) -> str:
    """Name what differs between the first two images of equal content, if there are any."""
    first = {row.sha256: row for row in runs[0].images if row.sha256}
    for run in runs[1:]:
        for row in run.images:
            other = first.get(row.sha256)
            for field in ("class_index", "label", "place"):
                if other is not None and getattr(other, field) != getattr(row, field):
                    one, two = getattr(other, field), getattr(row, field)
                    return f" (their content is, but {field} is '{one}' in A and '{two}' in '{run.name}')"
    return ""


def _described(run: RunScores, letter: str) -> ComparedRun:
    model = run.manifest.model
    return ComparedRun(
        letter=letter,
        name=run.name,
        model=model.name,
        fingerprint=model.fingerprint,
        precision=model.precision,
        versions=run.manifest.versions,
        accuracy=model.accuracy,
        median_clean_score=model.median_clean_score,
        n_images=len(run.images),
    )


def _differences(runs: Sequence[RunScores], letters: Sequence[str]) -> Iterator[str]:
    """Yield what differs in the subject: allowed to, and said."""
    models = [run.manifest.model for run in runs]
    subject = {
        "model": [model.name for model in models],
        "fingerprint": [model.fingerprint[:16] for model in models],
        "preprocess": [model.preprocess for model in models],
        "input size": [" x ".join(map(str, model.input_size)) for model in models],
        "precision": [model.precision for model in models],
    }
    packages = dict.fromkeys(name for run in runs for name in run.manifest.versions)
    subject |= {name: [run.manifest.versions.get(name, "unknown") for run in runs] for name in packages}
    for name, values in subject.items():
        if len(set(values)) > 1:
            yield f"{name}: " + ", ".join(f"{letter} {value}" for letter, value in zip(letters, values, strict=True))
