"""The gate: did explanations get worse than a baseline, did maps change, did the recommended patch size?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from evalkit.analysis.across import differing, differing_settings
from evalkit.analysis.judgement import Floats, Paired, judged, paired_scores
from evalkit.analysis.run_scores import RunScores
from evalkit.analysis.tolerance import Tolerance
from evalkit.analysis.verdicts import Gate, GateCell, MapDrift
from evalkit.config import DEFAULT_ALPHA
from evalkit.errors import NotComparableError
from evalkit.metrics.catalog import METRICS
from evalkit.store.baseline import Baseline, Recommendation
from evalkit.store.identity import image_keys
from evalkit.store.manifest import Manifest
from evalkit.store.rank_hash import differing_bits

__all__ = ["DRIFT_BITS", "hold_against", "require_comparable"]

VERDICTS = ("regressed", "improved", "unchanged", "not worse", "inconclusive", "not comparable")

# Bits, of 64, by which an explainer's maps differ on average before it is called changed. Of 20 photos, VGG16, bfloat16
# against float32: at most 0.3; the least of maps moved by 12 pixels, of guided gradients, of another patch size: 6.
DRIFT_BITS = 2.0


def require_comparable(baseline: Baseline, target: str, geometry: str) -> None:
    """Raise NotComparableError if a run with this target and geometry cannot be held against the baseline."""
    for setting, before, now in (
        ("target", baseline.target, target),
        ("geometry", baseline.geometry, geometry),
    ):
        if before != now:
            raise NotComparableError(
                f"run and baseline are not comparable: {setting} was {before} and is {now}; run with --{setting} "
                f"{before}, or write a new baseline"
            )


def hold_against(
    baseline: Baseline,
    run: RunScores,
    *,
    tolerance: Mapping[str, Tolerance],
    recommended: Recommendation | None = None,
    alpha: float = DEFAULT_ALPHA,
    fail_on_inconclusive: bool = False,
    fail_on_map_drift: bool = False,
    n_draws: int = 10_000,
) -> Gate:
    """Hold a run against a baseline.

    Args:
        baseline: what is held against.
        run: what is held.
        tolerance: by metric text, from ``parse_tolerance``.
        recommended: the run's patch size, chosen as the baseline's was; None if there is none.
        alpha: family-wise error of "regressed".
        fail_on_inconclusive: an inconclusive cell makes the exit code 1.
        fail_on_map_drift: maps that changed make the exit code 1.
        n_draws: sign flips, and bootstrap resamples.

    Raises:
        NotComparableError: another target or geometry, or no image in common.
    """
    manifest = run.manifest
    require_comparable(baseline, manifest.settings.target, manifest.settings.geometry)
    places = image_keys(run.images)
    shared = [(at, places[key]) for at, key in enumerate(baseline.images) if key in places]
    if not shared:
        raise NotComparableError(
            f"run and baseline are not comparable: none of the baseline's {len(baseline.images)} images is in the run, "
            "by content, class and place of the object; run on the same images, or write a new baseline"
        )
    before, now = [one for one, _ in shared], [other for _, other in shared]
    paired: list[Paired] = []
    apart: list[GateCell] = []
    for pair in product(baseline.explainers, baseline.metrics):
        reason = _other_settings(baseline, manifest, *pair)
        one = None if reason else _paired(baseline, run, pair, (before, now), tolerance[pair[1]])
        reason = reason or (_mostly_lost(one, run, pair) if one else None)
        if reason:
            apart.append(GateCell(*pair, _direction(pair[1]), "not comparable", reason=reason))
        elif one:
            paired.append(one)
    found = {(cell.explainer, cell.metric): cell for cell in [*judged(paired, alpha, n_draws), *apart]}
    cells = [found[pair] for pair in product(baseline.explainers, baseline.metrics)]
    drift = _drift(baseline, run, before, now)
    seen = {cell.verdict for cell in cells} | {"map drift" for one in drift if one.changed}
    wanted = (("inconclusive", fail_on_inconclusive), ("map drift", fail_on_map_drift))
    fails_on = tuple(what for what, asked in wanted if asked)
    return Gate(
        cells=tuple(cells),
        n_images=len(shared),
        n_baseline_images=len(baseline.images),
        drift=tuple(drift),
        recommended_before=baseline.recommended,
        recommended_now=recommended,
        differs=tuple(_differences(baseline, manifest)),
        new=tuple(one.text for one in manifest.explainers if not one.control and one.text not in baseline.explainers),
        alpha=alpha,
        fails_on=fails_on,
        exit_code=_exit_code(seen, fails_on),
        summary=_summary(cells, len(shared)),
    )


def _direction(metric: str) -> str:
    return METRICS.get(metric.partition("(")[0]).spec.direction


def _paired(
    baseline: Baseline,
    run: RunScores,
    pair: tuple[str, str],
    rows: tuple[Sequence[int], Sequence[int]],
    tolerance: Tolerance,
) -> Paired:
    explainer, metric = pair
    before: Floats = np.array(baseline.scores[explainer][metric], dtype=np.float64)[list(rows[0])]
    column = run.table.explainers.index(explainer), run.table.metrics.index(metric)
    now = run.table.values[list(rows[1]), *column]
    return paired_scores(pair, _direction(metric), before, now, tolerance)


def _mostly_lost(one: Paired, run: RunScores, pair: tuple[str, str]) -> str | None:
    """Say that most of what the baseline scored is not scored now: the rest would stand for a minority."""
    scored = len(one.before) + one.n_lost
    if scored < 2 or one.n_lost * 2 <= scored:
        return None
    reasons = run.table.reasons.get(pair, {})
    why = f", most: {max(reasons, key=lambda reason: reasons[reason])}" if reasons else ""
    return (
        f"{pair[0]} under {pair[1]}: of {scored} images that the baseline scored, {one.n_lost} are not scored now{why}"
    )


def _drift(baseline: Baseline, run: RunScores, before: Sequence[int], now: Sequence[int]) -> list[MapDrift]:
    """Return how far the maps of each explainer with the same settings have moved, by their rank hashes."""
    found = []
    for explainer, hashes in baseline.rank_hashes.items():
        current = run.rank_hashes.get(explainer)
        if current is None or run.manifest.signature.explainers.get(explainer) != baseline.explainers[explainer]:
            continue
        pairs = [(hashes[at], current[other]) for at, other in zip(before, now, strict=True)]
        bits = [differing_bits(first, second) for first, second in pairs if first is not None and second is not None]
        if bits:
            mean = float(np.mean(bits))
            found.append(MapDrift(explainer, len(bits), sum(one > 0 for one in bits), mean, mean > DRIFT_BITS))
    return found


def _other_settings(baseline: Baseline, manifest: Manifest, explainer: str, metric: str) -> str | None:
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


def _exit_code(seen: set[str], fails_on: Sequence[str]) -> int:
    """Return 1 for a regression, which outranks all; 3 where something is not comparable; 1 for what else fails."""
    if "regressed" in seen:
        return 1
    if "not comparable" in seen:
        return 3
    return 1 if seen & set(fails_on) else 0


def _summary(cells: Sequence[GateCell], n_images: int) -> str:
    counts = {verdict: sum(cell.verdict == verdict for cell in cells) for verdict in VERDICTS}
    named = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"Of {len(cells)} comparisons on {n_images} images: {named}."
