"""The gate: did explanations get worse than a baseline?

A paired test an explainer and metric, one-sided against "no worse", by sign flips over images, Holm over all of them; a
worsening counts when it is significant and larger than the tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.across import differing
from evalkit.analysis.comparisons import sign_flips
from evalkit.analysis.intervals import bca_means, resample_counts
from evalkit.errors import ConfigError, NotComparableError, nearest
from evalkit.metrics.catalog import METRICS
from evalkit.randomness import generator
from evalkit.store.baseline import Baseline
from evalkit.store.database import ImageRow
from evalkit.store.identity import image_keys
from evalkit.store.manifest import Manifest
from evalkit.store.scores import ScoreTable

__all__ = [
    "DEFAULT_ALPHA",
    "DEFAULT_TOLERANCE",
    "Gate",
    "GateCell",
    "Tolerance",
    "hold_against",
    "judged",
    "paired_scores",
    "parse_tolerance",
]

Floats = NDArray[np.float64]
DEFAULT_TOLERANCE, DEFAULT_ALPHA = "0.02", 0.05
_POWER = 0.8
_ROUNDING = 1e-5  # a baseline keeps five digits
VERDICTS = ("regressed", "improved", "unchanged", "not worse", "inconclusive", "not comparable")


class Tolerance(NamedTuple):
    """How much worse a mean may be: absolute, or a share of the baseline's mean."""

    amount: float
    relative: bool

    def of(self, mean: float) -> float:
        """Return the tolerance in the metric's own unit."""
        return self.amount * abs(mean) if self.relative else self.amount


class GateCell(msgspec.Struct, frozen=True):
    """One explainer under one metric, held against the baseline.

    Attributes:
        explainer: its text.
        metric: its text.
        direction: ``higher`` or ``lower`` is better.
        verdict: regressed, improved, unchanged (the interval lies within the tolerance), not worse (its lower end
            does), inconclusive, or not comparable.
        baseline_mean: over the images that both scored.
        mean: now, over the same images.
        change: of the mean, positive = better.
        ci_low: lower end of the change's 95 % interval.
        ci_high: upper end.
        tolerance: how much worse is accepted.
        p_value: of the worsening, one-sided, Holm over all cells; None if it was not tested.
        n_images: that both scored.
        n_lost: shared images that the baseline scored and the run did not.
        detectable: the smallest worsening that this many images show in four of five runs.
        n_wanted: images that would decide an inconclusive cell in four of five runs.
        reason: why it is not comparable; None otherwise.
    """

    explainer: str
    metric: str
    direction: str
    verdict: str
    baseline_mean: float | None = None
    mean: float | None = None
    change: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    tolerance: float | None = None
    p_value: float | None = None
    n_images: int = 0
    n_lost: int = 0
    detectable: float | None = None
    n_wanted: int | None = None
    reason: str | None = None


class Gate(msgspec.Struct, frozen=True):
    """Everything that the gate says.

    Attributes:
        cells: every explainer and metric of the baseline.
        n_images: that run and baseline share.
        n_baseline_images: of the baseline.
        differs: what differs in model, precision and versions, one sentence each: allowed, and said.
        new: explainers and metrics of the run that the baseline lacks: they get no verdict.
        alpha: family-wise error of "regressed".
        exit_code: 0 fine, 1 regressed, 3 not comparable.
        summary: one sentence.
    """

    cells: tuple[GateCell, ...]
    n_images: int
    n_baseline_images: int
    differs: tuple[str, ...]
    new: tuple[str, ...]
    alpha: float
    exit_code: int
    summary: str


def parse_tolerance(text: str, metrics: Sequence[str]) -> dict[str, Tolerance]:
    """Read ``--tolerance``: one number, or ``metric=number`` parts, absolute or in percent of the baseline's mean.

    >>> parse_tolerance("0.02,deletion=5%", ["deletion", "insertion"])["deletion"]
    Tolerance(amount=0.05, relative=True)

    Args:
        text: e.g. ``0.02``, ``5%`` or ``deletion=0.02,pointing_game=0.05``.
        metrics: texts of the gated metrics.

    Raises:
        ConfigError: not a number of at least 0, or another metric.
    """
    default = Tolerance(float(DEFAULT_TOLERANCE), relative=False)
    found: dict[str, Tolerance] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, equals, number = part.rpartition("=")
        value = _amount(number.strip(), part)
        if not equals:
            default = value
            continue
        named = [metric for metric in metrics if name.strip() in (metric, metric.partition("(")[0])]
        if not named:
            raise ConfigError(f"--tolerance '{part}': the baseline has no such metric: {nearest(name, metrics)}")
        found.update(dict.fromkeys(named, value))
    return {metric: found.get(metric, default) for metric in metrics}


def _amount(text: str, part: str) -> Tolerance:
    relative = text.endswith("%")
    try:
        amount = float(text.removesuffix("%")) / (100 if relative else 1)
    except ValueError:
        amount = float("nan")
    if not 0 <= amount < float("inf"):
        raise ConfigError(f"--tolerance '{part}' is not allowed; write 0.02, 5% or deletion=0.02,insertion=0.05")
    return Tolerance(amount, relative)


class _Paired(NamedTuple):
    explainer: str
    metric: str
    sign: float
    before: Floats
    now: Floats
    tolerance: float
    n_lost: int

    @property
    def changes(self) -> Floats:
        """The change on each image, positive = better."""
        return self.sign * (self.now - self.before)


def paired_scores(named: tuple[str, str], direction: str, before: Floats, now: Floats, tolerance: Tolerance) -> _Paired:
    """Make scores of the same images ready to be judged.

    Args:
        named: the texts of explainer and metric.
        direction: ``higher`` or ``lower`` is better.
        before: float64 (n,), NaN = not scored.
        now: float64 (n,).
        tolerance: how much worse is accepted.
    """
    both = np.isfinite(before) & np.isfinite(now)
    lost = int((np.isfinite(before) & ~both).sum())
    accepted = tolerance.of(float(before[both].mean())) if both.any() else 0.0
    return _Paired(*named, 1.0 if direction == "higher" else -1.0, before[both], now[both], accepted, lost)


def hold_against(
    baseline: Baseline,
    manifest: Manifest,
    table: ScoreTable,
    images: Sequence[ImageRow],
    *,
    tolerance: Mapping[str, Tolerance],
    alpha: float = DEFAULT_ALPHA,
    fail_on_inconclusive: bool = False,
    n_draws: int = 10_000,
) -> Gate:
    """Hold a run against a baseline.

    Args:
        baseline: what is held against.
        manifest: of the run.
        table: its scores.
        images: its images, in the table's order.
        tolerance: by metric text, from ``parse_tolerance``.
        alpha: family-wise error of "regressed".
        fail_on_inconclusive: an inconclusive cell makes the exit code 1.
        n_draws: sign flips, and bootstrap resamples.

    Raises:
        NotComparableError: another target or geometry, or no image in common.
    """
    for setting in ("target", "geometry"):
        before, now = getattr(baseline, setting), getattr(manifest.settings, setting)
        if before != now:
            raise NotComparableError(
                f"run and baseline are not comparable: {setting} was {before} and is {now}; run with --{setting} "
                f"{before}, or write a new baseline"
            )
    places, known = image_keys(images), dict.fromkeys(baseline.images)
    shared = [(at, places[key]) for at, key in enumerate(known) if key in places]
    if not shared:
        raise NotComparableError(
            f"run and baseline are not comparable: none of the baseline's {len(known)} images is in the run, by "
            "content, class and place of the object; run on the same images, or write a new baseline"
        )
    rows_before, rows_now = [one for one, _ in shared], [other for _, other in shared]
    paired: list[_Paired] = []
    apart: list[GateCell] = []
    for explainer in baseline.explainers:
        for metric in baseline.metrics:
            direction = METRICS.get(metric.partition("(")[0]).spec.direction
            reason = _not_comparable(baseline, manifest, explainer, metric)
            if reason:
                apart.append(GateCell(explainer, metric, direction, "not comparable", reason=reason))
                continue
            scores = np.array(baseline.scores[explainer][metric], dtype=np.float64)[rows_before]
            now = table.values[rows_now, table.explainers.index(explainer), table.metrics.index(metric)]
            paired.append(paired_scores((explainer, metric), direction, scores, now, tolerance[metric]))
    cells = judged(paired, alpha, n_draws)
    order = {pair: at for at, pair in enumerate((e, m) for e in baseline.explainers for m in baseline.metrics)}
    cells = sorted([*cells, *apart], key=lambda cell: order[cell.explainer, cell.metric])
    return Gate(
        cells=tuple(cells),
        n_images=len(shared),
        n_baseline_images=len(known),
        differs=tuple(_differences(baseline, manifest)),
        new=tuple(
            [
                text
                for text in manifest.signature.explainers
                if text not in baseline.explainers and not _control(manifest, text)
            ]
        ),
        alpha=alpha,
        exit_code=_exit_code(cells, fail_on_inconclusive=fail_on_inconclusive),
        summary=_summary(cells, len(shared)),
    )


def _control(manifest: Manifest, text: str) -> bool:
    return any(one.text == text and one.control for one in manifest.explainers)


def _not_comparable(baseline: Baseline, manifest: Manifest, explainer: str, metric: str) -> str | None:
    for kind, text, before, now in (
        ("explainer", explainer, baseline.explainers, manifest.signature.explainers),
        ("metric", metric, baseline.metrics, manifest.signature.metrics),
    ):
        if text in now:
            if now[text] != before[text]:
                return f"{kind} {text}: {differing(before[text], now[text], 'the baseline', 'the run')}"
            continue
        name = text.partition("(")[0]
        alike = [other for other in now if other.partition("(")[0] == name]
        if not alike:
            return f"{kind} {text} is not in the run"
        near = min(alike, key=lambda other: differing(before[text], now[other], "", "").count(","))
        said = differing(before[text], now[near], "the baseline", "the run")
        return f"{kind} {text} is not in the run; the nearest is {near}: {said}"
    return None


def judged(paired: Sequence[_Paired], alpha: float, n_draws: int) -> list[GateCell]:
    """Return a verdict for each; the p-values of all are corrected together (Holm)."""
    worse = np.ones(len(paired))
    better = np.ones(len(paired))
    for at, one in enumerate(paired):
        if len(one.before) >= 2:
            rng = generator(0, "gate", one.metric)
            flips, exact = sign_flips(rng, len(one.before), n_draws)
            better[at], worse[at] = _one_sided(one.changes, flips, exact=exact)
    worse_held, better_held = _holm(worse), _holm(better)
    return [_cell(one, worse_held[at], better_held[at], alpha, len(paired), n_draws) for at, one in enumerate(paired)]


def _one_sided(changes: Floats, flips: NDArray[np.int8], *, exact: bool) -> tuple[float, float]:
    """Return the p-values of "better" and of "worse" (Student's t over sign flips)."""
    changes = np.where(np.abs(changes) <= _ROUNDING, 0.0, changes)
    squares = float((changes**2).sum())
    if squares == 0:
        return 1.0, 1.0
    # With the squares fixed, t grows with the sum.
    observed, drawn = float(changes.sum()), flips @ changes
    slack = 1e-9 * np.sqrt(squares)
    if exact:  # each pattern stands for its mirror image too
        drawn = np.concatenate([drawn, -drawn])
        return float((drawn >= observed - slack).mean()), float((drawn <= observed + slack).mean())
    count = 1 + len(drawn)
    return (1 + int((drawn >= observed - slack).sum())) / count, (1 + int((drawn <= observed + slack).sum())) / count


def _holm(p_values: Floats) -> Floats:
    """Return p-values corrected by Holm's step-down."""
    order = np.argsort(p_values, kind="stable")
    steps = (len(p_values) - np.arange(len(p_values))) * p_values[order]
    held = np.empty_like(p_values)
    held[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return held


def _cell(one: _Paired, worse: float, better: float, alpha: float, n_cells: int, n_resamples: int) -> GateCell:
    direction = "higher" if one.sign > 0 else "lower"
    n_images = len(one.before)
    if n_images < 2:
        return GateCell(
            explainer=one.explainer,
            metric=one.metric,
            direction=direction,
            verdict="inconclusive",
            tolerance=one.tolerance,
            n_images=n_images,
            n_lost=one.n_lost,
            reason="fewer than two images were scored in both",
        )
    changes = one.changes
    mean, spread = float(changes.mean()), float(changes.std(ddof=1))
    rng = generator(0, "gate bootstrap", n_images)
    interval = bca_means(changes[:, None], resample_counts(rng, n_images, n_resamples))[0]
    low, high = (mean, mean) if interval.low is None or interval.high is None else (interval.low, interval.high)
    if -mean > one.tolerance and worse < alpha:
        verdict = "regressed"
    elif mean > one.tolerance and better < alpha:
        verdict = "improved"
    elif low > -one.tolerance:
        verdict = "unchanged" if high < one.tolerance else "not worse"
    else:
        verdict = "inconclusive"
    tail, power = NormalDist().inv_cdf(1 - alpha / max(n_cells, 1)), NormalDist().inv_cdf(_POWER)
    error = spread / np.sqrt(n_images)
    return GateCell(
        explainer=one.explainer,
        metric=one.metric,
        direction=direction,
        verdict=verdict,
        baseline_mean=float(one.before.mean()),
        mean=float(one.now.mean()),
        change=mean,
        ci_low=low,
        ci_high=high,
        tolerance=one.tolerance,
        p_value=float(worse),
        n_images=n_images,
        n_lost=one.n_lost,
        detectable=float(max(one.tolerance + power * error, (tail + power) * error)),
        n_wanted=_wanted(spread, one.tolerance, n_images) if verdict == "inconclusive" else None,
    )


def _wanted(spread: float, tolerance: float, n_images: int) -> int | None:
    """Return the images at which, if nothing differs, the interval's lower end stays within the tolerance."""
    if tolerance <= 0:
        return None
    needed = ((NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(_POWER)) * spread / tolerance) ** 2
    return max(int(np.ceil(needed)), n_images + 1)


def _differences(baseline: Baseline, manifest: Manifest) -> list[str]:
    before, now = baseline.model, manifest.model
    found = [
        f"{name}: {was} before, {one} now"
        for name, was, one in (
            ("model", before.name, now.name),
            ("fingerprint", before.fingerprint[:16], now.fingerprint[:16]),
            ("precision", before.precision, now.precision),
            *((key, baseline.versions.get(key), one) for key, one in manifest.versions.items()),
        )
        if was != one
    ]
    if found and before.accuracy is not None and now.accuracy is not None:
        found.append(f"accuracy: {100 * before.accuracy:.1f} % before, {100 * now.accuracy:.1f} % now")
    if found and before.median_clean_score is not None and now.median_clean_score is not None:
        found.append(f"median clean score: {before.median_clean_score:.3f} before, {now.median_clean_score:.3f} now")
    return found


def _exit_code(cells: Sequence[GateCell], *, fail_on_inconclusive: bool) -> int:
    verdicts = {cell.verdict for cell in cells}
    if "regressed" in verdicts or (fail_on_inconclusive and "inconclusive" in verdicts):
        return 1
    return 3 if "not comparable" in verdicts else 0


def _summary(cells: Sequence[GateCell], n_images: int) -> str:
    counts = {verdict: sum(cell.verdict == verdict for cell in cells) for verdict in VERDICTS}
    named = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"Of {len(cells)} comparisons on {n_images} images: {named}."
