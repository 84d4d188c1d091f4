"""The gate: compare a run's scores, maps and recommended patch size with a baseline's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.comparable import differing, differing_settings
from evalkit.analysis.facts import direction_of, line_name, width_of
from evalkit.analysis.gate.loss import OTHER_CLASS, Loss, loss_of
from evalkit.analysis.gate.results import Gate, GateCell, MapDrift
from evalkit.analysis.gate.tolerance import Tolerance
from evalkit.analysis.gate.verdict import Floats, Paired, paired_scores, verdicts
from evalkit.analysis.load import RunScores
from evalkit.analysis.shards import require_whole
from evalkit.core.errors import NotComparableError
from evalkit.core.settings import DEFAULT_ALPHA, DEFAULT_MAX_LOST
from evalkit.core.signature import without_digest
from evalkit.store.baseline import Baseline, Recommendation
from evalkit.store.identity import image_keys
from evalkit.store.manifest import Manifest
from evalkit.store.rank_hash import HASH_BITS, differing_bits
from evalkit.store.scores import first_rows, mean_of_units

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
    max_lost: float = DEFAULT_MAX_LOST,
    fails_on: Sequence[str] = (),
    n_draws: int = 10_000,
) -> Gate:
    """Compare a run with a baseline.

    Args:
        baseline: the baseline.
        run: the run to check.
        tolerance: largest accepted worsening by metric text, from ``parse_tolerance``.
        recommended: the run's patch size, chosen by the baseline's criterion and margin; None if there is none.
        alpha: family-wise error rate of "regressed".
        max_lost: largest accepted share of the baseline's scored images that the run did not score, 0..1.
        fails_on: what else makes the exit code 1: ``inconclusive``, ``map drift``.
        n_draws: number of bootstrap resamples, at least.

    Raises:
        NotComparableError: another target or geometry, no image in common, or the run is a shard.
    """
    manifest = run.manifest
    require_whole(manifest, "a comparison with a baseline", NotComparableError)
    require_comparable(baseline, manifest.settings.target, manifest.settings.geometry)
    baseline = _with_photos(baseline, run)
    shared = _Shared.of(baseline, run)
    comparable: list[Paired] = []
    not_comparable: list[GateCell] = []
    losses: list[Loss] = []  # of the comparable cells
    for explainer, metric in product(baseline.explainers, baseline.metrics):
        texts, reason = _counterparts(baseline, manifest, explainer, metric)
        if texts is None:
            not_comparable.append(GateCell(explainer, metric, direction_of(metric), "not comparable", reason=reason))
            continue
        paired, loss = _compared(baseline, run, shared, (explainer, metric), texts, tolerance[metric])
        if too_many := loss.too_many(max_lost):
            not_comparable.append(_not_comparable(paired, loss, too_many))
        else:
            comparable.append(paired)
            losses.append(loss)
    compared = [
        msgspec.structs.replace(cell, **loss.details())
        for cell, loss in zip(verdicts(comparable, alpha, n_draws), losses, strict=True)
    ]
    by_pair = {(cell.explainer, cell.metric): cell for cell in [*compared, *not_comparable]}
    cells = [by_pair[pair] for pair in product(baseline.explainers, baseline.metrics)]
    drift = _drift(baseline, run, shared)
    seen = {cell.verdict for cell in cells} | {"map drift" for moved in drift if moved.changed}
    lines = set(baseline.explainers.values())
    return Gate(
        cells=tuple(cells),
        n_images=shared.n_images,
        n_other_class=shared.n_other_class,
        n_baseline_images=baseline.n_photos,
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
        fails_on=tuple(fails_on),
        exit_code=_exit_code(seen, fails_on),
        summary=_summary(cells, shared.n_images),
        target=without_digest(baseline.target),
    )


def _with_photos(baseline: Baseline, run: RunScores) -> Baseline:
    """Add the photos to an older baseline: those in the run are known, all others count as one image each."""
    if baseline.photos:
        return baseline
    row_of = image_keys(run.images)
    _, photos = first_rows([run.images[row_of[key]].sha256 if key in row_of else key for key in baseline.images])
    return msgspec.structs.replace(baseline, photos=tuple(photos.tolist()))


def _compared(
    baseline: Baseline,
    run: RunScores,
    shared: _Shared,
    texts: tuple[str, str],
    run_texts: tuple[str, str],
    tolerance: Tolerance,
) -> tuple[Paired, Loss]:
    """Pair the scores of one explainer and metric; entries are paired first, then averaged over each photo."""
    explainer, metric = texts
    before: Floats = np.array(baseline.scores[explainer][metric], dtype=np.float64)
    column = run.table.explainers.index(run_texts[0]), run.table.metrics.index(run_texts[1])
    scores: Floats = np.where(shared.rows >= 0, run.table.values[shared.rows, *column], np.nan)
    now = np.where(shared.same_class, scores, np.nan)
    paired = paired_scores(texts, direction_of(metric), before, now, tolerance, shared.photos.astype(str).tolist())
    unscored = run.unscored.get(run_texts, {})

    def reason(index: int) -> str:
        if shared.rows[index] < 0:
            return "not in the run"
        if not shared.same_class[index]:
            return OTHER_CLASS
        return unscored.get(run.images[shared.rows[index]].image_id, "not scored")

    loss = loss_of(before, now, shared.photos, reason)
    if loss.n_images and without_digest(baseline.target) == "predicted":
        loss = loss.with_any_class(before, scores, shared.photos)
    return paired._replace(n_lost=loss.n_images, lost_reason=loss.reason, width=width_of(metric)), loss


def _not_comparable(paired: Paired, loss: Loss, reason: str) -> GateCell:
    """Return the cell of a comparison that is not made because too many images are lost."""
    kept = len(paired.before) > 0
    return GateCell(
        paired.explainer,
        paired.metric,
        direction_of(paired.metric),
        "not comparable",
        baseline_mean=float(paired.before.mean()) if kept else None,
        mean=float(paired.now.mean()) if kept else None,
        n_images=len(paired.before),
        n_lost=loss.n_images,
        lost_reason=loss.reason,
        reason=reason,
        **loss.details(),
    )


class _Shared(NamedTuple):
    """The baseline's images in the run.

    Attributes:
        rows: int64 (n,), the run's row of each image of the baseline; -1 = not in the run.
        same_class: bool (n,), whether the image is in the run and the model explains the same class of it.
        photos: int64 (n,), the photo of each image.
    """

    rows: NDArray[np.int64]
    same_class: NDArray[np.bool_]
    photos: NDArray[np.int64]

    @classmethod
    def of(cls, baseline: Baseline, run: RunScores) -> _Shared:
        row_of = image_keys(run.images)
        rows = np.array([row_of.get(key, -1) for key in baseline.images], dtype=np.int64)
        if (rows < 0).all():
            raise NotComparableError(
                f"run and baseline are not comparable: none of the baseline's {baseline.n_photos} images is in the "
                "run (same content, class and region); run on the same images, or write a new baseline"
            )
        same = [row >= 0 and run.images[row].target == was for row, was in zip(rows, baseline.targets, strict=True)]
        return cls(rows, np.array(same, dtype=bool), np.array(baseline.photos, dtype=np.int64))

    @property
    def n_images(self) -> int:
        """The number of photos of which the run has an entry of the baseline."""
        return len(np.unique(self.photos[self.rows >= 0]))

    @property
    def n_other_class(self) -> int:
        """The number of shared photos of which no entry is explained for the same class."""
        return self.n_images - len(np.unique(self.photos[self.same_class]))


def _drift(baseline: Baseline, run: RunScores, shared: _Shared) -> list[MapDrift]:
    """Return how far the maps of each explainer with the same settings have moved, by their rank hashes."""
    texts = {line: text for text, line in run.manifest.signature.explainers.items()}
    drift = []
    for explainer, hashes in baseline.rank_hashes.items():
        current = run.rank_hashes.get(texts.get(baseline.explainers[explainer], ""))
        if current is None:
            continue
        both = [
            (index, before, current[shared.rows[index]])
            for index, before in enumerate(hashes)
            if shared.same_class[index] and before is not None
        ]
        if both:
            # A map that was finite and is not any more, or is missing, counts as another map.
            bits = [float(HASH_BITS if now is None else differing_bits(before, now)) for _, before, now in both]
            _, unit = first_rows([str(shared.photos[index]) for index, _, _ in both])
            by_photo = mean_of_units(np.array(bits), unit)
            mean = float(by_photo.mean())
            drift.append(MapDrift(explainer, len(by_photo), int(np.count_nonzero(by_photo)), mean, mean > DRIFT_BITS))
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
