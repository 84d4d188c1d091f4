"""The gate: did explanations get worse than a baseline?

A paired test an explainer and metric, one-sided against "no worse", by sign flips over images, Holm over all of them; a
worsening counts when it is significant and larger than the tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.across import differing, differing_settings
from evalkit.analysis.comparisons import sign_flips
from evalkit.analysis.intervals import Resampling, bca_means
from evalkit.analysis.run_scores import RunScores
from evalkit.analysis.verdicts import Gate, GateCell
from evalkit.config import DEFAULT_ALPHA, DEFAULT_TOLERANCE
from evalkit.errors import ConfigError, NotComparableError, nearest
from evalkit.metrics.catalog import METRICS
from evalkit.randomness import generator
from evalkit.store.baseline import Baseline
from evalkit.store.identity import image_keys
from evalkit.store.manifest import Manifest

__all__ = [
    "Tolerance",
    "hold_against",
    "judged",
    "paired_scores",
    "parse_tolerance",
]

Floats = NDArray[np.float64]
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
    run: RunScores,
    *,
    tolerance: Mapping[str, Tolerance],
    alpha: float = DEFAULT_ALPHA,
    fail_on_inconclusive: bool = False,
    n_draws: int = 10_000,
) -> Gate:
    """Hold a run against a baseline.

    Args:
        baseline: what is held against.
        run: what is held.
        tolerance: by metric text, from ``parse_tolerance``.
        alpha: family-wise error of "regressed".
        fail_on_inconclusive: an inconclusive cell makes the exit code 1.
        n_draws: sign flips, and bootstrap resamples.

    Raises:
        NotComparableError: another target or geometry, or no image in common.
    """
    manifest, table = run.manifest, run.table
    for setting in ("target", "geometry"):
        before, now = getattr(baseline, setting), getattr(manifest.settings, setting)
        if before != now:
            raise NotComparableError(
                f"run and baseline are not comparable: {setting} was {before} and is {now}; run with --{setting} "
                f"{before}, or write a new baseline"
            )
    places, known = image_keys(run.images), dict.fromkeys(baseline.images)
    shared = [(at, places[key]) for at, key in enumerate(known) if key in places]
    if not shared:
        raise NotComparableError(
            f"run and baseline are not comparable: none of the baseline's {len(known)} images is in the run, by "
            "content, class and place of the object; run on the same images, or write a new baseline"
        )
    rows_before, rows_now = [one for one, _ in shared], [other for _, other in shared]
    paired: list[_Paired] = []
    apart: list[GateCell] = []
    for explainer, metric in product(baseline.explainers, baseline.metrics):
        direction = METRICS.get(metric.partition("(")[0]).spec.direction
        reason = _not_comparable(baseline, manifest, explainer, metric)
        if reason:
            apart.append(GateCell(explainer, metric, direction, "not comparable", reason=reason))
            continue
        scores = np.array(baseline.scores[explainer][metric], dtype=np.float64)[rows_before]
        now = table.values[rows_now, table.explainers.index(explainer), table.metrics.index(metric)]
        paired.append(paired_scores((explainer, metric), direction, scores, now, tolerance[metric]))
    found = {(cell.explainer, cell.metric): cell for cell in [*judged(paired, alpha, n_draws), *apart]}
    cells = [found[pair] for pair in product(baseline.explainers, baseline.metrics)]
    return Gate(
        cells=tuple(cells),
        n_images=len(shared),
        n_baseline_images=len(known),
        differs=tuple(_differences(baseline, manifest)),
        new=tuple(one.text for one in manifest.explainers if not one.control and one.text not in baseline.explainers),
        alpha=alpha,
        exit_code=_exit_code(cells, fail_on_inconclusive=fail_on_inconclusive),
        summary=_summary(cells, len(shared)),
    )


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
        near = min(alike, key=lambda other: len(differing_settings(before[text], now[other])))
        said = differing(before[text], now[near], "the baseline", "the run")
        return f"{kind} {text} is not in the run; the nearest is {near}: {said}"
    return None


def judged(paired: Sequence[_Paired], alpha: float, n_draws: int) -> list[GateCell]:
    """Return a verdict for each; the p-values of all are corrected together (Holm)."""
    worse, better = np.ones(len(paired)), np.ones(len(paired))
    flips = lru_cache(lambda n_images: sign_flips(generator(0, "gate", n_images), n_images, n_draws))
    for at, one in enumerate(paired):
        if len(one.before) >= 2:
            signs, exact = flips(len(one.before))
            better[at], worse[at] = _one_sided(one.changes, signs, exact=exact)
    worse_held, better_held = _holm(worse), _holm(better)
    resampling = Resampling(0, n_draws)
    return [
        _cell(one, worse_held[at], better_held[at], alpha, len(paired), resampling) for at, one in enumerate(paired)
    ]


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


def _cell(one: _Paired, worse: float, better: float, alpha: float, n_cells: int, resampling: Resampling) -> GateCell:
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
    interval = bca_means(changes[:, None], resampling.counts(n_images))[0]
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
