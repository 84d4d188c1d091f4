"""The gate: did explanations get worse than a baseline, did maps change, did the recommended patch size?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from evalkit.analysis.compare_runs import differing, differing_settings
from evalkit.analysis.gate.tolerance import Tolerance
from evalkit.analysis.gate.verdict import Floats, Paired, judged, paired_scores
from evalkit.analysis.load import RunScores
from evalkit.analysis.verdicts import Gate, GateCell, MapDrift
from evalkit.core.errors import NotComparableError
from evalkit.core.settings import DEFAULT_ALPHA
from evalkit.metrics.catalog import METRICS
from evalkit.store.baseline import Baseline, Recommendation
from evalkit.store.identity import image_keys
from evalkit.store.manifest import Manifest
from evalkit.store.rank_hash import HASH_BITS, differing_bits

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
            word, same = before.partition("(")[0], now.partition("(")[0]
            what_next = f"run with --{setting} {word}" if word != same else "run with the --class-map of before"
            raise NotComparableError(
                f"run and baseline are not comparable: {setting} was {before} and is {now}; {what_next}, or write a "
                "new baseline"
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
    shared = _Shared.of(baseline, run)
    paired: list[Paired] = []
    apart: list[GateCell] = []
    for explainer, metric in product(baseline.explainers, baseline.metrics):
        found, reason = _counterparts(baseline, manifest, explainer, metric)
        one = _paired(baseline, run, shared, (explainer, metric), found, tolerance[metric]) if found else None
        reason = reason or (_mostly_lost(one) if one else None)
        if reason:
            apart.append(GateCell(explainer, metric, _direction(metric), "not comparable", reason=reason))
        elif one:
            paired.append(one)
    verdicts = {(cell.explainer, cell.metric): cell for cell in [*judged(paired, alpha, n_draws), *apart]}
    cells = [verdicts[pair] for pair in product(baseline.explainers, baseline.metrics)]
    drift = _drift(baseline, run, shared)
    seen = {cell.verdict for cell in cells} | {"map drift" for one in drift if one.changed}
    wanted = (("inconclusive", fail_on_inconclusive), ("map drift", fail_on_map_drift))
    fails_on = tuple(what for what, asked in wanted if asked)
    lines = set(baseline.explainers.values())
    return Gate(
        cells=tuple(cells),
        n_images=len(shared.rows) - shared.rows.count(None),
        n_other_class=sum(shared.other_class),
        n_baseline_images=len(baseline.images),
        drift=tuple(drift),
        recommended_before=baseline.recommended,
        recommended_now=recommended,
        differs=tuple(_differences(baseline, manifest)),
        new=tuple(
            one.text
            for one in manifest.explainers
            if not one.control and manifest.signature.explainers[one.text] not in lines
        ),
        alpha=alpha,
        fails_on=fails_on,
        exit_code=_exit_code(seen, fails_on),
        summary=_summary(cells, len(shared.rows) - shared.rows.count(None)),
    )


class _Shared(NamedTuple):
    """Where the baseline's images are in the run: their rows, None = not in it; and which explain another class."""

    rows: list[int | None]
    other_class: list[bool]

    @classmethod
    def of(cls, baseline: Baseline, run: RunScores) -> _Shared:
        places = image_keys(run.images)
        rows = [places.get(key) for key in baseline.images]
        if rows.count(None) == len(rows):
            raise NotComparableError(
                f"run and baseline are not comparable: none of the baseline's {len(baseline.images)} images is in the "
                "run, by content, class and place of the object; run on the same images, or write a new baseline"
            )
        before = baseline.targets
        other = [row is not None and run.images[row].target != before[at] for at, row in enumerate(rows)]
        return cls(rows, other)

    def row(self, at: int) -> int | None:
        """Return the run's row of the baseline's image, if the two can be held against each other."""
        return None if self.other_class[at] else self.rows[at]


def _direction(metric: str) -> str:
    return METRICS.get(metric.partition("(")[0]).spec.direction


def _paired(
    baseline: Baseline,
    run: RunScores,
    shared: _Shared,
    named: tuple[str, str],
    found: tuple[str, str],
    tolerance: Tolerance,
) -> Paired:
    explainer, metric = named
    before: Floats = np.array(baseline.scores[explainer][metric], dtype=np.float64)
    column = run.table.explainers.index(found[0]), run.table.metrics.index(found[1])
    rows = [shared.row(at) for at in range(len(before))]
    now: Floats = np.array([np.nan if row is None else run.table.values[row, *column] for row in rows])
    photos = ["" if row is None else run.images[row].sha256 for row in rows]
    one = paired_scores(named, _direction(metric), before, now, tolerance, photos)
    lost = np.flatnonzero(np.isfinite(before) & ~np.isfinite(now))
    reasons = Counter(_why_lost(run, shared, int(at), found) for at in lost)
    return one._replace(n_lost=len(lost), lost_reason=reasons.most_common(1)[0][0] if reasons else None)


def _why_lost(run: RunScores, shared: _Shared, at: int, found: tuple[str, str]) -> str:
    row = shared.rows[at]
    if row is None:
        return "not in the run"
    if shared.other_class[at]:
        return "the model explains another class"
    return run.unscored.get(found, {}).get(run.images[row].image_id, "not scored")


def _mostly_lost(one: Paired) -> str | None:
    """Say that half or more of what the baseline scored is not scored now: the rest would stand for a minority."""
    scored = len(one.before) + one.n_lost
    if not one.n_lost or one.n_lost * 2 < scored:
        return None
    return (
        f"{one.explainer} under {one.metric}: of {scored} images that the baseline scored, {one.n_lost} are not scored "
        f"now, most: {one.lost_reason}"
    )


def _drift(baseline: Baseline, run: RunScores, shared: _Shared) -> list[MapDrift]:
    """Return how far the maps of each explainer with the same settings have moved, by their rank hashes."""
    texts = {line: text for text, line in run.manifest.signature.explainers.items()}
    found = []
    for explainer, hashes in baseline.rank_hashes.items():
        current = run.rank_hashes.get(texts.get(baseline.explainers[explainer], ""))
        if current is None:
            continue
        both = [(before, current[row]) for at, before in enumerate(hashes) if (row := shared.row(at)) is not None]
        # A map that was finite and is not, or is not there, is another map.
        bits = [HASH_BITS if now is None else differing_bits(before, now) for before, now in both if before is not None]
        if bits:
            mean = float(np.mean(bits))
            found.append(MapDrift(explainer, len(bits), sum(one > 0 for one in bits), mean, mean > DRIFT_BITS))
    return found


def _counterparts(
    baseline: Baseline, manifest: Manifest, explainer: str, metric: str
) -> tuple[tuple[str, str] | None, str | None]:
    """Return what the run calls this explainer and metric, or why it has not got them."""
    names = []
    for kind, text, before, now in (
        ("explainer", explainer, baseline.explainers, manifest.signature.explainers),
        ("metric", metric, baseline.metrics, manifest.signature.metrics),
    ):
        same = [other for other, line in now.items() if line == before[text]]
        if not same:
            return None, _other_settings(kind, text, before, now)
        names.append(text if text in same else same[0])
    return (names[0], names[1]), None


def _other_settings(kind: str, text: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say which setting differs in the run."""
    if text in now:
        return f"{kind} {text}: {differing(before[text], now[text], 'the baseline', 'the run')}"
    name = text.partition("(")[0]
    alike = [other for other in now if other.partition("(")[0] == name]
    if not alike:
        return f"{kind} {text} is not in the run"
    near = min(alike, key=lambda other: len(differing_settings(before[text], now[other])))
    said = differing(before[text], now[near], "the baseline", "the run")
    return f"{kind} {text} is not in the run; the nearest is {near}: {said}"


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
