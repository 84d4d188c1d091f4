"""The gate: compare a run's scores, maps and recommended patch size with a baseline's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from evalkit.analysis.comparable import differing, differing_settings
from evalkit.analysis.facts import direction_of, line_name
from evalkit.analysis.gate.results import Gate, GateCell, MapDrift
from evalkit.analysis.gate.tolerance import Tolerance
from evalkit.analysis.gate.verdict import Floats, Paired, paired_scores, verdicts
from evalkit.analysis.load import RunScores
from evalkit.core.errors import NotComparableError
from evalkit.core.settings import DEFAULT_ALPHA
from evalkit.core.signature import without_digest
from evalkit.store.baseline import Baseline, Recommendation
from evalkit.store.identity import image_keys
from evalkit.store.manifest import Manifest
from evalkit.store.rank_hash import HASH_BITS, differing_bits

__all__ = ["DRIFT_BITS", "check_against", "require_comparable"]

VERDICTS = ("regressed", "improved", "unchanged", "not worse", "inconclusive", "not comparable")

# Mean number of differing bits, of 64, above which an explainer's maps count as changed. Measured on 20 photos with
# VGG16: at most 0.3 between bfloat16 and float32; at least 6 for maps moved by 12 pixels, guided gradients, or another
# patch size.
DRIFT_BITS = 2.0


def require_comparable(baseline: Baseline, target: str, geometry: str) -> None:
    """Raise NotComparableError if the baseline was made with another target or geometry."""
    for setting, before, now in (
        ("target", baseline.target, target),
        ("geometry", baseline.geometry, geometry),
    ):
        if before != now:
            value = without_digest(before)  # the target may carry a digest of the class map
            same_value = value == without_digest(now)
            what_next = "run with the baseline's --class-map" if same_value else f"run with --{setting} {value}"
            raise NotComparableError(
                f"run and baseline are not comparable: {setting} was {before} and is {now}; {what_next}, or write a "
                "new baseline"
            )


def check_against(
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
    """Compare a run with a baseline.

    Args:
        baseline: the baseline.
        run: the run to check.
        tolerance: largest accepted worsening by metric text, from ``parse_tolerance``.
        recommended: the run's patch size, chosen by the baseline's criterion and margin; None if there is none.
        alpha: family-wise error rate of "regressed".
        fail_on_inconclusive: whether an inconclusive cell makes the exit code 1.
        fail_on_map_drift: whether changed maps make the exit code 1.
        n_draws: number of sign flips and of bootstrap resamples.

    Raises:
        NotComparableError: another target or geometry, or no image in common.
    """
    manifest = run.manifest
    require_comparable(baseline, manifest.settings.target, manifest.settings.geometry)
    shared = _Shared.of(baseline, run)
    comparable: list[Paired] = []
    not_comparable: list[GateCell] = []
    for explainer, metric in product(baseline.explainers, baseline.metrics):
        texts, reason = _counterparts(baseline, manifest, explainer, metric)
        paired = _paired(baseline, run, shared, (explainer, metric), texts, tolerance[metric]) if texts else None
        reason = reason or (_mostly_lost(paired) if paired else None)
        if reason:
            not_comparable.append(GateCell(explainer, metric, direction_of(metric), "not comparable", reason=reason))
        elif paired:
            comparable.append(paired)
    by_pair = {(cell.explainer, cell.metric): cell for cell in [*verdicts(comparable, alpha, n_draws), *not_comparable]}
    cells = [by_pair[pair] for pair in product(baseline.explainers, baseline.metrics)]
    drift = _drift(baseline, run, shared)
    seen = {cell.verdict for cell in cells} | {"map drift" for moved in drift if moved.changed}
    options = (("inconclusive", fail_on_inconclusive), ("map drift", fail_on_map_drift))
    fails_on = tuple(kind for kind, fails in options if fails)
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
            explainer.text
            for explainer in manifest.explainers
            if not explainer.control and manifest.signature.explainers[explainer.text] not in lines
        ),
        alpha=alpha,
        fails_on=fails_on,
        exit_code=_exit_code(seen, fails_on),
        summary=_summary(cells, len(shared.rows) - shared.rows.count(None)),
    )


class _Shared(NamedTuple):
    """The baseline's images in the run: their rows, None = not in the run; and which explain another class."""

    rows: list[int | None]
    other_class: list[bool]

    @classmethod
    def of(cls, baseline: Baseline, run: RunScores) -> _Shared:
        row_of = image_keys(run.images)
        rows = [row_of.get(key) for key in baseline.images]
        if rows.count(None) == len(rows):
            raise NotComparableError(
                f"run and baseline are not comparable: none of the baseline's {len(baseline.images)} images is in the "
                "run (same content, class and region); run on the same images, or write a new baseline"
            )
        before = baseline.targets
        other = [row is not None and run.images[row].target != before[index] for index, row in enumerate(rows)]
        return cls(rows, other)

    def row(self, index: int) -> int | None:
        """Return the run's row of the baseline's image; None if the two cannot be compared."""
        return None if self.other_class[index] else self.rows[index]


def _paired(
    baseline: Baseline,
    run: RunScores,
    shared: _Shared,
    texts: tuple[str, str],
    run_texts: tuple[str, str],
    tolerance: Tolerance,
) -> Paired:
    explainer, metric = texts
    before: Floats = np.array(baseline.scores[explainer][metric], dtype=np.float64)
    column = run.table.explainers.index(run_texts[0]), run.table.metrics.index(run_texts[1])
    rows = [shared.row(index) for index in range(len(before))]
    now: Floats = np.array([np.nan if row is None else run.table.values[row, *column] for row in rows])
    photos = ["" if row is None else run.images[row].sha256 for row in rows]
    paired = paired_scores(texts, direction_of(metric), before, now, tolerance, photos)
    lost = np.flatnonzero(np.isfinite(before) & ~np.isfinite(now))
    reasons = Counter(_why_lost(run, shared, int(index), run_texts) for index in lost)
    return paired._replace(n_lost=len(lost), lost_reason=reasons.most_common(1)[0][0] if reasons else None)


def _why_lost(run: RunScores, shared: _Shared, index: int, run_texts: tuple[str, str]) -> str:
    row = shared.rows[index]
    if row is None:
        return "not in the run"
    if shared.other_class[index]:
        return "the model explains another class"
    return run.unscored.get(run_texts, {}).get(run.images[row].image_id, "not scored")


def _mostly_lost(paired: Paired) -> str | None:
    """Return a reason if half or more of the baseline's scores have no counterpart: the rest is a minority."""
    scored = len(paired.before) + paired.n_lost
    if not paired.n_lost or paired.n_lost * 2 < scored:
        return None
    return (
        f"{paired.explainer}, {paired.metric}: of {scored} images that the baseline scored, {paired.n_lost} are not "
        f"scored now, most frequent reason: {paired.lost_reason}"
    )


def _drift(baseline: Baseline, run: RunScores, shared: _Shared) -> list[MapDrift]:
    """Return how far the maps of each explainer with the same settings have moved, by their rank hashes."""
    texts = {line: text for text, line in run.manifest.signature.explainers.items()}
    drift = []
    for explainer, hashes in baseline.rank_hashes.items():
        current = run.rank_hashes.get(texts.get(baseline.explainers[explainer], ""))
        if current is None:
            continue
        both = [(before, current[row]) for index, before in enumerate(hashes) if (row := shared.row(index)) is not None]
        # A map that was finite and is not any more, or is missing, counts as another map.
        bits = [HASH_BITS if now is None else differing_bits(before, now) for before, now in both if before is not None]
        if bits:
            mean = float(np.mean(bits))
            drift.append(MapDrift(explainer, len(bits), sum(count > 0 for count in bits), mean, mean > DRIFT_BITS))
    return drift


def _counterparts(
    baseline: Baseline, manifest: Manifest, explainer: str, metric: str
) -> tuple[tuple[str, str] | None, str | None]:
    """Return the run's texts of the same explainer and metric, or why the run lacks them."""
    texts = []
    for kind, text, before, now in (
        ("explainer", explainer, baseline.explainers, manifest.signature.explainers),
        ("metric", metric, baseline.metrics, manifest.signature.metrics),
    ):
        same = [other for other, line in now.items() if line == before[text]]
        if not same:
            return None, _other_settings(kind, text, before, now)
        texts.append(text if text in same else same[0])
    return (texts[0], texts[1]), None


def _other_settings(kind: str, text: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return the setting that differs in the run, as a sentence."""
    if text in now:
        return f"{kind} {text}: {differing(before[text], now[text], 'the baseline', 'the run')}"
    variants = [other for other, line in now.items() if line_name(line) == line_name(before[text])]
    if not variants:
        return f"{kind} {text} is not in the run"
    nearest = min(variants, key=lambda other: len(differing_settings(before[text], now[other])))
    settings = differing(before[text], now[nearest], "the baseline", "the run")
    return f"{kind} {text} is not in the run; the nearest is {nearest}: {settings}"


def _differences(baseline: Baseline, manifest: Manifest) -> list[str]:
    before, now = baseline.model, manifest.model
    differences = [
        f"{name}: {was} before, {value} now"
        for name, was, value in (
            ("model", before.name, now.name),
            ("fingerprint", before.fingerprint[:16], now.fingerprint[:16]),
            ("precision", before.precision, now.precision),
            *((key, baseline.versions.get(key), version) for key, version in manifest.versions.items()),
        )
        if was != value
    ]
    if differences and before.accuracy is not None and now.accuracy is not None:
        differences.append(f"accuracy: {100 * before.accuracy:.1f} % before, {100 * now.accuracy:.1f} % now")
    if differences and before.median_clean_score is not None and now.median_clean_score is not None:
        differences.append(
            f"median clean score: {before.median_clean_score:.3f} before, {now.median_clean_score:.3f} now"
        )
    return differences


def _exit_code(seen: set[str], fails_on: Sequence[str]) -> int:
    """Return 1 for a regression, before all else; 3 if a cell is not comparable; 1 for a verdict in ``fails_on``."""
    if "regressed" in seen:
        return 1
    if "not comparable" in seen:
        return 3
    return 1 if seen & set(fails_on) else 0


def _summary(cells: Sequence[GateCell], n_images: int) -> str:
    counts = {verdict: sum(cell.verdict == verdict for cell in cells) for verdict in VERDICTS}
    named = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"Of {len(cells)} comparisons on {n_images} images: {named}."
