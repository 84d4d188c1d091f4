"""What a run is made of, and which of its cells are still missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import version

from evalkit.core import signature
from evalkit.core.settings import DEFAULT_CRITERION, DEFAULT_MARGIN
from evalkit.datasets.geometry import Geometry
from evalkit.datasets.image_set import Entry, ImageSet
from evalkit.explainers.base import Explainer
from evalkit.metrics.spec import Metric, PerturbationMetric
from evalkit.models.classifier import Classifier
from evalkit.store.database import Database, ImageRow
from evalkit.store.manifest import Signatures

__all__ = [
    "Missing",
    "Plan",
    "Target",
    "accepted",
    "forgotten",
    "image_rows",
    "joined_classes",
    "missing_cells",
    "versions",
]

Target = str  # "label" or "predicted"
_VERSIONED = (
    "evalkit",
    "tensorflow",
    "keras",
    "tf-explain",
    "numpy",
    "opencv-python",
    "pillow",
    "pycocotools",
    "scipy",
    "scikit-image",
)


def versions() -> dict[str, str]:
    """Return the version of every package that can move a number."""
    return dict(_versions())


@cache  # every cell's key asks for them, and reading a package's metadata takes a millisecond
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, version(name)) for name in _VERSIONED)


@dataclass(frozen=True, eq=False)
class Plan:
    """One run: everything that its numbers depend on.

    Attributes:
        images: the labelled images, limited and with their class indices.
        classifier: the model under explanation.
        explainers: in the order asked for.
        metrics: in the order asked for.
        target: ``label`` explains and scores the labelled class, ``predicted`` the model's own choice.
        geometry: how photos are fitted to the model's input.
        steps: of the perturbation metrics, where their spec names no other.
        seed: of everything random.
        limit: images asked for, or None for all.
        criterion: the metric that decides the patch size, by its text. It moves no score, so no key holds it.
        margin: the loss of it that is accepted.
        batch_size: the most images in one pass, as asked for; None = that of the run folder, if it holds a run already.
        fail_on_error: stop at the first photo, explainer or metric that fails.
        chosen: options that chose among the images besides the limit, and their values.
        joined: the classes that stand for several outputs, of all images that there were to choose from; None = those
            of ``images``.
        files: what was read besides the images, by option (``model``, ``weights``, ...), as absolute paths.
        source: where the images can be read again, ``scenes`` or an absolute path; empty where they cannot.
    """

    images: ImageSet
    classifier: Classifier
    explainers: Sequence[Explainer]
    metrics: Sequence[Metric]
    target: Target
    geometry: Geometry
    steps: int
    seed: int
    limit: int | None
    criterion: str = DEFAULT_CRITERION
    margin: float = DEFAULT_MARGIN
    batch_size: int | None = None
    fail_on_error: bool = False
    chosen: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    joined: Sequence[tuple[str, tuple[int, ...]]] | None = None

    @cached_property
    def target_text(self) -> str:
        """What is explained and scored; with the digest of the classes that stand for several outputs, if any do."""
        classes = joined_classes(self.images) if self.joined is None else self.joined
        if self.target == "predicted" or not classes:
            return self.target
        return f"{self.target}({signature.digest(repr(classes), 8)})"

    @property
    def subject(self) -> str:
        """The part of the signature that may differ between comparable runs: model, weights, versions, precision."""
        model, found = self.classifier, versions()
        return signature.line(
            "subject",
            {
                "model": model.name,
                "weights": model.fingerprint[:16],
                "preprocess": model.preprocess,
                "precision": model.precision,
                "tensorflow": found["tensorflow"],
                "keras": found["keras"],
            },
        )

    @property
    def protocol(self) -> str:
        """The part that must match: images, geometry, target, steps, seed."""
        return signature.line(
            "protocol",
            {
                "evalkit": versions()["evalkit"],
                "data": self.images.name,
                "images": len(self.images),
                "limit": self.limit,
                **self.chosen,
                "geometry": self.geometry,
                "score": "softmax",
                "target": self.target_text,
                "steps": self.steps,
                "seed": self.seed,
            },
        )

    def metric_signature(self, metric: Metric) -> str:
        """Return a metric's line; what asks the model also names the score and the target."""
        if isinstance(metric, PerturbationMetric):
            return f"{metric.signature}|score:softmax|target:{self.target_text}"
        return metric.signature

    def signatures(self) -> Signatures:
        """Return every line of the run."""
        return Signatures(
            run=f"{self.protocol} || {self.subject}",
            metrics={metric.text: self.metric_signature(metric) for metric in self.metrics},
            explainers={explainer.text: explainer.signature for explainer in self.explainers},
        )

    def digest(self) -> str:
        """Return eight digits that stand for the whole command: the default output folder ends in them."""
        lines = self.signatures()
        return signature.digest("\n".join([lines.run, *lines.metrics.values(), *lines.explainers.values()]), 8)

    @cached_property
    def asked(self) -> str:
        """The model, the libraries, and what they were asked: all that a photo's own facts depend on."""
        libraries = "|".join(f"{name}:{version}" for name, version in _versions())
        return f"{self.subject}|{libraries}|{self.geometry}|{self.target_text}"

    @cached_property
    def facts_key(self) -> str:
        """What a photo's stored facts (class explained, clean score) must match to be used again."""
        return signature.digest(self.asked, 32)

    def map_key(self, explainer: Explainer) -> str:
        """Return what a stored map must match to be used again."""
        return signature.digest(f"{self.asked}|{explainer.signature}{explainer.contents}", 32)

    def score_key(self, explainer: Explainer, metric: Metric) -> str:
        """Return what a stored cell must match to be used again."""
        return self.score_keys[explainer.text, metric.text]

    @cached_property
    def score_keys(self) -> dict[tuple[str, str], str]:
        """The keys of all cells of a photo, by the texts of explainer and metric: the same for every photo."""
        return {
            (explainer.text, metric.text): signature.digest(f"{map_key}|{self.metric_signature(metric)}", 32)
            for explainer in self.explainers
            for map_key in [self.map_key(explainer)]
            for metric in self.metrics
        }


def joined_classes(images: ImageSet) -> list[tuple[str, tuple[int, ...]]]:
    """Return the classes that stand for several outputs, with these."""
    return sorted({(entry.label, entry.outputs) for entry in images.entries if entry.outputs})


def image_rows(plan: Plan, known: dict[str, ImageRow]) -> tuple[list[ImageRow], list[Entry]]:
    """Return a row for each planned image, keeping what is known of it.

    Returns:
        The rows in the set's order, and the images whose file or label is not the one that their cells were made of.
    """
    rows, changed = [], []
    for position, entry in enumerate(plan.images.entries):
        fresh, row = _new_row(entry, position), known.get(entry.id)
        if row is None:
            rows.append(fresh)
            continue
        if _looks(row) != _looks(fresh):
            changed.append(entry)
        rows.append(replace(row, position=position, label=fresh.label))
    return rows, changed


def _new_row(entry: Entry, position: int) -> ImageRow:
    class_index = -1 if entry.class_index is None else entry.class_index
    return ImageRow(
        image_id=entry.id,
        position=position,
        class_index=class_index,
        label=entry.label,
        photo_file=entry.file,
        size_bytes=entry.size_bytes,
        mtime_ns=entry.mtime_ns,
        truth=entry.truth_digest,
        sha256="",
        problem=None,
    )


def _looks(row: ImageRow) -> tuple[str, int, int, str]:
    """Return what is known of a photo and its truth without reading them."""
    return row.photo_file, row.size_bytes, row.mtime_ns, row.truth


def accepted(row: ImageRow, entry: Entry, sha256: str) -> ImageRow | None:
    """Return the row with the file's new place and time, if photo and truth are what was scored; else None."""
    if row.truth != entry.truth_digest or row.sha256 != sha256:
        return None
    return replace(row, photo_file=entry.file, size_bytes=entry.size_bytes, mtime_ns=entry.mtime_ns)


def forgotten(row: ImageRow, entry: Entry) -> ImageRow:
    """Return the row of a photo of which nothing holds any more."""
    return _new_row(entry, row.position or 0)


@dataclass(frozen=True)
class Missing:
    """What one image still needs: for each explainer, the metrics without a valid cell. Nothing = up to date."""

    entry: Entry
    cells: Sequence[tuple[Explainer, Sequence[Metric]]]


def missing_cells(plan: Plan, entry: Entry, database: Database) -> Missing:
    """Compare the plan with what the store holds of one image."""
    keys = database.score_keys_of(entry.id)
    if keys == plan.score_keys:  # nearly always: for many photos the rest is slow
        return Missing(entry, ())
    cells: list[tuple[Explainer, Sequence[Metric]]] = []
    for explainer in plan.explainers:
        metrics = [
            metric
            for metric in plan.metrics
            if keys.get((explainer.text, metric.text)) != plan.score_key(explainer, metric)
        ]
        if metrics:
            cells.append((explainer, metrics))
    return Missing(entry, cells)
