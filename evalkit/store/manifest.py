"""``manifest.json``: what a run was asked to do, with what, and what a citation needs."""

from __future__ import annotations

import msgspec

from evalkit.core.settings import DEFAULT_CRITERION, DEFAULT_MARGIN

__all__ = [
    "SCHEMA_VERSION",
    "DataFacts",
    "ExplainerFacts",
    "Manifest",
    "MetricFacts",
    "ModelFacts",
    "Settings",
    "Signatures",
]

SCHEMA_VERSION = 1


class Signatures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting that can move a number, as canonical lines.

    Attributes:
        run: the protocol and the subject of the whole run.
        metrics: metric text to its line.
        explainers: explainer text to its line.
    """

    run: str
    metrics: dict[str, str]
    explainers: dict[str, str]


class ModelFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model under explanation.

    Attributes:
        name: as given on the command line, a file by its file name.
        fingerprint: sha256 of architecture, weights and preprocessing.
        preprocess: the preprocessing family, or ``none``.
        input_size: height and width in pixels.
        n_classes: number of outputs.
        target_layer: the layer that CAM methods look at by default; None if the model has none.
        precision: the dtype the model computes in.
        accuracy: share of the readable labelled images whose top-1 is the label; None before any is scored.
        n_right: how many those are.
        median_clean_score: median softmax score of the target on untouched images.
        saturated_share: share of clean scores above 0.999.
    """

    name: str
    fingerprint: str
    preprocess: str
    input_size: tuple[int, int]
    n_classes: int
    target_layer: str | None
    precision: str
    accuracy: float | None = None
    n_right: int | None = None
    median_clean_score: float | None = None
    saturated_share: float | None = None


class DataFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The labelled image set.

    Attributes:
        name: file or folder name.
        kind: which reader understood it.
        n_images: images planned, after ``--limit``.
        n_unreadable: of these, how many could not be used.
        n_regions: how many come with a region.
        fingerprint: sha256 over the contents of all images read, in order; None until every image was read.
        unreadable: image id and reason of each that could not be used, the first hundred.
        source: where the images were read, ``scenes`` or an absolute path, for the report; empty if in memory.
    """

    name: str
    kind: str
    n_images: int
    n_unreadable: int = 0
    n_regions: int = 0
    fingerprint: str | None = None
    unreadable: tuple[tuple[str, str], ...] = ()
    source: str = ""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options that can move a number or say how it was computed.

    Attributes:
        criterion: the metric that decides the patch size, by its text.
        margin: the loss of it that is accepted.
        chosen: options that chose among the images besides the limit, and their values.
    """

    target: str
    geometry: str
    steps: int
    seed: int
    batch_size: int
    limit: int | None
    criterion: str = DEFAULT_CRITERION
    margin: float = DEFAULT_MARGIN
    chosen: dict[str, str] = {}


class ExplainerFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One explainer of the run.

    Attributes:
        text: the short spec, as shown.
        name: e.g. ``occlusion``.
        parameters: all of them.
        control: a baseline map that does not depend on the model, e.g. pixel noise.
        positions: patch positions an image, for occlusion; else None.
        forward_passes: forward passes an image.
        method: how the forward passes are made, e.g. ``full pass``.
        seconds: spent on its maps, over all images.
        n_maps: maps made.
        swept_by: parameters that a sweep compares, e.g. ``("patch_size", "stride")``; empty = none.
        origin: ``built-in``, ``precomputed``, or the module that the explainer comes from.
    """

    text: str
    name: str
    parameters: dict[str, int | float | bool | str | None]
    control: bool
    positions: int | None
    forward_passes: int
    method: str
    seconds: float = 0.0
    n_maps: int = 0
    swept_by: tuple[str, ...] = ()
    origin: str = "built-in"


class MetricFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One metric of the run.

    Attributes:
        text: the short spec, as shown.
        name: e.g. ``deletion``.
        direction: ``higher`` or ``lower`` is better.
        bounds: smallest and largest possible value; None = unbounded.
        family: the leaderboard that shows it.
        parameters: all of them.
        summary: one line on what it measures.
        criterion: it may decide the choice of a parameter.
        gated: a baseline holds it by default.
        draws_curve: ``removal`` or ``insertion`` if the score is the area under a curve; empty otherwise.
        sweep_column: position among the columns of the patch-size table; 0 = none of the first.
        binary: every value is 0 or 1.
        exact_region: it needs the object's own pixels, not boxes.
        set_level: it scores the image set as a whole.
        descriptive: it has no better end.
    """

    text: str
    name: str
    direction: str
    bounds: tuple[float | None, float | None]
    family: str
    parameters: dict[str, int | float | bool | str | None]
    summary: str = ""
    criterion: bool = True
    gated: bool = False
    draws_curve: str = ""
    sweep_column: int = 0
    binary: bool = False
    exact_region: bool = False
    set_level: bool = False
    descriptive: bool = False


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of ``manifest.json``.

    Attributes:
        metrics: the metrics' texts, in the order asked for.
        explainers: in the order asked for.
        versions: package name to version.
        created: ISO 8601, UTC.
        finished: ISO 8601, UTC; None while cells are missing.
        forward_passes: images that went through the model, over all processes that worked on the run.
        backward_passes: images that went back through it.
        files: what was read besides the images, by option, as absolute paths: what makes the run again.
        metric_facts: in the order of ``metrics``; empty in the manifests of older runs.
    """

    schema_version: int
    signature: Signatures
    model: ModelFacts
    data: DataFacts
    settings: Settings
    explainers: tuple[ExplainerFacts, ...]
    metrics: tuple[str, ...]
    versions: dict[str, str]
    created: str
    finished: str | None = None
    files: dict[str, str] = {}
    forward_passes: int = 0
    backward_passes: int = 0
    metric_facts: tuple[MetricFacts, ...] = ()
