"""``manifest.json``: the settings, model, data and versions of a run."""

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
    "WholeSet",
]

SCHEMA_VERSION = 1


class Signatures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting that can change a number, as canonical lines.

    Attributes:
        run: protocol and subject of the whole run.
        metrics: line of each metric, by spec.
        explainers: line of each explainer, by spec.
    """

    run: str
    metrics: dict[str, str]
    explainers: dict[str, str]


class ModelFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The explained model.

    Attributes:
        name: name as given on the command line; of a file its file name.
        fingerprint: sha256 of architecture, weights and preprocessing.
        preprocess: preprocessing family, or ``none``.
        input_size: height and width in pixels.
        n_classes: number of outputs.
        target_layer: default layer of the CAM methods; None if the model has none.
        precision: dtype of the model's computations; ``own`` of a black box.
        accuracy: fraction of the readable labelled images on which the model is right: top-1, or p >= 0.5 of a
            multilabel model; None before any is scored.
        n_right: number of those images.
        median_clean_score: median score of the target on the unchanged images.
        saturated_share: fraction of clean scores above 0.999.
        head: how outputs become scores of classes, in words.
        channels: number of channels of its input.
        n_at_limit: number of images on which the target's probability is 0 or 1 and the model has no reachable logit.
        given: values of the options that say how the model is read, besides files and preprocessing.
        class_names: names, by index, of the outputs that are class or target of an image; empty if unknown.
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
    head: str = "softmax"
    channels: int = 3
    n_at_limit: int = 0
    given: dict[str, str] = {}
    class_names: dict[int, str] = {}


class WholeSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The image set of which a shard has a part.

    Attributes:
        n_images: number of its images, after ``--limit``.
        digest: sha256 over the ids and classes of its images, in order.
    """

    n_images: int
    digest: str


class DataFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The labelled image set.

    Attributes:
        name: file or folder name.
        kind: name of its format.
        n_images: number of images planned, after ``--limit``.
        n_unreadable: number of these that could not be read.
        n_regions: number of these with a region.
        fingerprint: sha256 over the contents of all images read, in order; None until every image was read.
        unreadable: image id and reason of the first hundred images that could not be read.
        class_order: how its classes were matched with the model's outputs, in words.
        source: ``scenes`` or the absolute path of the data, for the report; empty for images in memory.
        notes: a few sentences about how annotations were read, e.g. masks thresholded at half.
        mean_color: mean of each channel over the whole set, which perturbations used; empty = ImageNet's.
        mean_stamp: digest of the photos that it was computed of, from what is known without reading them.
        whole: image set of which the images are a shard; None = they are all.
    """

    name: str
    kind: str
    n_images: int
    n_unreadable: int = 0
    n_regions: int = 0
    fingerprint: str | None = None
    unreadable: tuple[tuple[str, str], ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()
    class_order: str = ""
    mean_color: tuple[float, ...] = ()
    mean_stamp: str = ""
    whole: WholeSet | None = None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options that can change a number, or that describe how it was computed.

    Attributes:
        criterion: spec of the metric that decides the patch size.
        margin: largest accepted loss of the criterion, relative to the best size.
        chosen: values of the options, besides the limit, that select images or their classes.
        threads: threads of one operation of the model; 0 = not stored.
        shard: number of the shard and of all shards, ``2/8``; empty = the run has all images.
        keep_maps: which maps are kept; it changes no number.
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
    threads: int = 0
    shard: str = ""
    keep_maps: str = "all"


class ExplainerFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One explainer of the run.

    Attributes:
        text: short spec, as shown.
        name: name of the explainer, e.g. ``occlusion``.
        parameters: all parameters and their values.
        control: whether its maps do not depend on the model, e.g. pixel noise.
        positions: number of patch positions per image, for occlusion; else None.
        forward_passes: number of forward passes per image.
        method: how the forward passes are made, e.g. ``full pass``.
        seconds: time to compute its maps, over all images.
        n_maps: number of its maps.
        swept_by: parameters that a sweep compares, e.g. ``("patch_size", "stride")``; empty = none.
        origin: ``built-in``, ``precomputed``, or the module that the explainer comes from.
        substrate: what it replaces pixels with, e.g. ``blur``; empty = nothing, or not stored.
        backward_passes: number of backward passes per image.
        mean_passes: forward and backward passes used, mean over images, if they vary by image; else None.
        family: kind of method, e.g. ``cams``; empty = not stored.
        notes: sentences about what its maps have besides their values, e.g. residuals.
        repeatability: mean rank correlation of its maps with those of a second seed; None if it was not computed.
        n_repeated: number of images that the repeatability is the mean of.
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
    substrate: str = ""
    backward_passes: int = 0
    mean_passes: tuple[float, float] | None = None
    family: str = ""
    notes: tuple[str, ...] = ()
    repeatability: float | None = None
    n_repeated: int = 0


class MetricFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One metric of the run.

    Attributes:
        text: short spec, as shown.
        name: name of the metric, e.g. ``deletion``.
        direction: ``higher`` or ``lower`` is better.
        bounds: smallest and largest possible value; None = unbounded.
        family: leaderboard that shows it.
        parameters: all parameters and their values.
        summary: one line that describes it.
        criterion: whether it may decide the choice of a parameter.
        gated: whether a baseline contains it by default.
        draws_curve: ``removal`` or ``insertion`` if the score is the area under a curve; empty otherwise.
        curve_value: values of that curve: ``score``, in 0..1, or ``log-odds``, unbounded.
        sweep_column: position among the columns of the patch-size table; 0 = not among the first columns.
        binary: whether every value is 0 or 1.
        exact_region: whether it needs an exact mask instead of boxes.
        set_level: whether it scores the image set as a whole.
        descriptive: whether neither higher nor lower is better.
        substrate: what it replaces pixels with, e.g. ``blur``; empty = nothing, or not stored.
        chance: score of a map that depends on no image: a number, or ``uniform`` = that of the constant map on
            the image; None = not known, or not stored.
        sentence: what is said of an explainer, with ``{mean}`` and ``{n}``, if no leaderboard shows it.
        note: what is said once beside the sentences.
        of_model: whether the sentence is of the model, whatever the explainer.
        column: title of its column where space is short; empty = not stored.
        screen_column: position among the columns that ``run`` prints first; 0 = behind these, or not stored.
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
    curve_value: str = "score"
    sweep_column: int = 0
    binary: bool = False
    exact_region: bool = False
    set_level: bool = False
    descriptive: bool = False
    substrate: str = ""
    chance: float | str | None = None
    sentence: str = ""
    note: str = ""
    of_model: bool = False
    column: str = ""
    screen_column: int = 0


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of ``manifest.json``.

    Attributes:
        metrics: specs of the metrics, in the order of the options.
        explainers: facts of the explainers, in the order of the options.
        versions: versions by package name.
        created: time when the run was created, ISO 8601, UTC.
        finished: time when the run was finished, ISO 8601, UTC; None while cells are missing.
        forward_passes: number of forward passes, in images, over all processes of the run.
        backward_passes: number of backward passes, in images, over all processes of the run.
        seconds: wall time of the computation, over all processes of the run that ended regularly.
        files: absolute paths of the other files that were read, by option; the command that repeats the run uses them.
        metric_facts: facts of the metrics, in the order of ``metrics``; empty in the manifests of older runs.
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
    seconds: float = 0.0
    metric_facts: tuple[MetricFacts, ...] = ()

    @property
    def shard_in_words(self) -> str:
        """The shard and its number of images; empty of a run that has all images."""
        if not self.settings.shard or self.data.whole is None:
            return ""
        number, _, count = self.settings.shard.partition("/")
        return f"shard {number} of {count} ({self.data.n_images:,} of {self.data.whole.n_images:,} images)"
