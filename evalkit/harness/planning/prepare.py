"""Turns options into a plan: opens and checks everything before anything is computed or written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike, fspath
from pathlib import Path

from evalkit.core.component import Component
from evalkit.core.errors import ConfigError
from evalkit.core.names import escaped, is_text, path_of
from evalkit.core.settings import (
    DEFAULT_CRITERION,
    OPTIONS,
    RunOptions,
    completed,
    is_scenes,
)
from evalkit.core.specs import simplify
from evalkit.datasets.class_map import read_class_map
from evalkit.datasets.class_names import GivenNames, read_classes
from evalkit.datasets.classes import match_classes
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import open_image_set
from evalkit.datasets.region_checks import regions_of_some
from evalkit.explainers.base import SweepOptions
from evalkit.explainers.catalog import (
    DEFAULT_PATCH_SIZES,
    EXPLAINERS,
    SCENES_PATCH_SIZES,
    Listed,
    expand_listed,
    names_in,
    unused_by,
)
from evalkit.explainers.precomputed import PrecomputedMaps, precomputed_maps, report_missing
from evalkit.harness.planning.class_order import order_notes
from evalkit.harness.planning.fitting import fitting, fitting_metrics
from evalkit.harness.planning.mean_color import mean_of
from evalkit.harness.planning.partners import partners_of
from evalkit.harness.planning.plan import Plan, joined_classes
from evalkit.harness.planning.precision import default_folder, in_chosen_precision
from evalkit.harness.planning.preprocess_check import Look, is_known, loaded, look_at
from evalkit.harness.planning.recipe import LiveModel, ModelRecipe, ModelSource, NamedModel
from evalkit.harness.planning.references import with_references
from evalkit.harness.planning.select_images import chosen_by, select
from evalkit.harness.planning.shards import require_same_shard, shard_of
from evalkit.harness.planning.threads import planned_threads
from evalkit.metrics.catalog import build_metrics, find_criterion
from evalkit.models.applications import APPLICATIONS
from evalkit.models.classifier import Classifier
from evalkit.models.devices import gpu_names
from evalkit.store.run_folder import RunFolder

__all__ = ["prepare"]

Say = Callable[[str], None]


def prepare(
    options: RunOptions,
    say: Say,
    *,
    model: Classifier | None = None,
    images: ImageSet | None = None,
    class_names: GivenNames | None = None,
    maps: Sequence[Path] = (),
) -> Plan:
    """Open the images and the model, build explainers and metrics, and check that they fit each other.

    Args:
        options: the merged options; their explainers and metrics are specs or objects.
        say: a function that prints one sentence on stderr, for automatic decisions.
        model: the model, instead of ``options.model``.
        images: the images, instead of ``options.data``.
        class_names: what ``read_classes`` takes, instead of ``options.class_names``.
        maps: the folders of maps from files, listed before the explainers.

    Raises:
        EvalkitError: an option, the data or the model is not valid, or they do not fit each other.
    """
    options.require_engine()
    threads = planned_threads(options, say)
    if gpu_names():
        say(f"GPU: {', '.join(gpu_names())}; float32 is computed with{'out' * (options.precision != 'tf32')} TF32")
    if model is None and images is None:
        options = completed(options)
    _require_data_and_model(options, model, images)
    require_same_shard(options)
    # Checks that need no model come first, so that a typo is reported before a model is loaded.
    metrics = build_metrics(options.metrics, steps=options.steps)
    listed = _listed(options, say)
    criterion = find_criterion(options.criterion, metrics).text if options.criterion else DEFAULT_CRITERION
    class_map = read_class_map(Path(options.class_map)) if options.class_map else None
    data_source = "" if images is not None else _source(options.data or "")
    images = open_image_set(options.data or "", options.data_format) if images is None else images
    if any(entry.has_cue for entry in images.entries):
        metrics = build_metrics(options.metrics, steps=options.steps, cues=True)
    precomputed = precomputed_maps(maps, [entry.id for entry in images.entries])
    named = _named(options, class_names)
    source: ModelSource = named if model is None else LiveModel.of(model)
    classifier = model or loaded(
        lambda changed: NamedModel(named.source, {**named.options, **changed}).load(options.batch_size),
        images,
        options,
        class_map,
    )
    opened = images
    for note in opened.notes:  # before anything that may refuse the set: they may say why
        say(note)
    match = match_classes(
        opened,
        classifier.class_names,
        classifier.n_classes,
        require_labels=options.target == "label" or options.only_correct,
        class_ids=classifier.class_ids,
        class_map=class_map,
        class_order=options.class_order,
    )
    images = match.images
    _refuse_joined(classifier, images)
    mean = mean_of(opened, classifier.channels, options, say)
    if mean is not None:
        classifier = classifier.with_mean_color(mean.color)
    compare = not (model is None and is_known(options))
    order = order_notes(match, classifier, options.geometry, compare=compare)
    for note in filter(None, (*match.notes, *order, classifier.size_note)):
        say(note)
    classifier = in_chosen_precision(classifier, options, _checked(images), say)
    classifier = with_references(classifier, opened, [one.explainer for one in listed], options, say)
    matched = images
    joined = joined_classes(images)  # before the selection: a limit changes no score of the images that stay
    images = _checked(select(images, options, classifier, options.geometry, say))  # with the precision of the run
    region_notes = regions_of_some(images)
    for note in region_notes:
        say(note)
    whole = images.with_notes(region_notes)
    images = shard_of(whole, options.shard, say)
    sized = options.patch_sizes is not None
    explainers = fitting(listed, classifier, names_in(options.explainers), sized=sized, say=say)
    metrics = fitting_metrics(metrics, classifier, options.metrics, say)
    components = [*explainers, *metrics]
    _report_notes([entry.id for entry in images.entries], precomputed, components, options, classifier, say)
    plan = Plan(
        images=images,
        model=ModelRecipe.of(classifier, source),
        explainers=[*precomputed, *explainers],
        metrics=metrics,
        target=options.target,
        geometry=options.geometry,
        steps=options.steps,
        seed=options.seed,
        limit=options.limit,
        criterion=criterion,
        margin=options.margin,
        batch_size=options.batch_size,
        fail_on_error=options.fail_on_error,
        keep_maps=options.keep_maps,
        chosen=chosen_by(options),
        class_order=match.order,
        source=data_source,
        joined=joined,
        files=_files(options),
        model_given=_model_given(options),
        mean=mean,
        partners=partners_of(matched, images.entries, metrics, options.seed),
        threads=threads,
        threads_given=options.threads_per_worker is not None,
        threads_are_set=options.engine == "local",
        shard=options.shard,
        whole=None if options.shard is None else whole,
    )
    if not _is_finished(plan, options):
        look = look_at(classifier, matched, options.geometry, compare=compare, orders=match.others)
        _say_model(classifier, look, say)
    return plan


def _say_model(classifier: Classifier, look: Look, say: Say) -> None:
    """Say what was found of the model and how often it is right, before anything is computed."""
    say("; ".join(filter(None, (f"{classifier.name}: {classifier.facts}", str(look)))))
    if look.better:
        say(look.better)


def _is_finished(plan: Plan, options: RunOptions) -> bool:
    """Return whether the run folder holds a finished run of this model, which then has nothing to compute."""
    if options.fresh:
        return False
    earlier = RunFolder.manifest_at(Path(options.output) if options.output else default_folder(plan))
    return earlier is not None and bool(earlier.finished) and earlier.signature == plan.signatures()


def _require_data_and_model(options: RunOptions, model: Classifier | None, images: ImageSet | None) -> None:
    if images is None and not options.data:
        raise ConfigError(
            "--data is missing; point it to a folder of class folders or to a CSV manifest, or write --data scenes"
        )
    if model is None and not options.model:
        raise ConfigError(
            "--model is missing; give a .keras file, vgg16 or another keras.applications name, or module:function"
        )


def _listed(options: RunOptions, say: Say) -> list[Listed]:
    sizes = SCENES_PATCH_SIZES if is_scenes(options.data) else DEFAULT_PATCH_SIZES
    sweep = SweepOptions(tuple(options.patch_sizes or sizes), tuple(options.strides or ("patch",)))
    listed = expand_listed(options.explainers, sweep, options.seed, say)
    EXPLAINERS.distinct([one.explainer for one in listed])
    return listed


def _refuse_joined(classifier: Classifier, images: ImageSet) -> None:
    """Raise ConfigError if a class has several outputs whose probabilities do not exclude each other."""
    joined = next((entry for entry in images.entries if len(entry.outputs) > 1), None)
    if joined is not None and not classifier.head.is_exclusive:
        raise ConfigError(
            f"--class-map gives class '{joined.label}' several outputs, but the probabilities of model "
            f"'{classifier.name}' ({classifier.head.text}) do not exclude each other, so their sum is no probability; "
            "give each class one output"
        )


def _report_notes(
    image_ids: Sequence[str],
    precomputed: Sequence[PrecomputedMaps],
    components: Sequence[Component],
    options: RunOptions,
    classifier: Classifier,
    say: Say,
) -> None:
    """Report what does not stop the run; called after all checks that can fail."""
    for maps in precomputed:
        report_missing(maps, image_ids, say)
    for option in unused_by(
        options.explainers, sizes=options.patch_sizes is not None, strides=options.strides is not None
    ):
        say(f"{option} has no effect: no occlusion in --explainers takes its value")
    _report_uncached(components, say)
    if classifier.doubt:
        say(classifier.doubt)


def _report_uncached(components: Sequence[Component], say: Say) -> None:
    for component in components:
        if not component.can_be_cached:
            say(f"{component.text}: its class has no source file, so its results are computed again in each run")


def _source(data: str) -> str:
    """Return where the images can be read again; empty if the path is not printable."""
    source = data if is_scenes(data) else str(path_of(data).absolute())
    return source if is_text(source) else ""


def _files(options: RunOptions) -> dict[str, str]:
    """Return the files that were read besides the images, by option, for the command that repeats the run."""
    given = {key: getattr(options, key) for key in ("model", "weights", "class_names", "class_map")}
    paths = {key: Path(text).absolute() for key, text in given.items() if text}
    is_folder = "model" in paths and simplify(str(options.model)) not in APPLICATIONS and paths["model"].is_dir()
    files = {
        key: str(path)
        for key, path in paths.items()
        if (path.is_file() or (key == "model" and is_folder)) and is_text(str(path))
    }
    if options.class_names and "class_names" not in files:
        files["class_names"] = escaped(options.class_names)  # names separated by commas
    return files if "model" in files or not options.model else {"model": escaped(options.model), **files}


def _model_given(options: RunOptions) -> dict[str, str]:
    """Return the options that say how the model is read, besides files and preprocessing, for the same command."""
    given = {name: value for name, value in options.model_options().items() if value != OPTIONS[name].value}
    return {
        name: ",".join(map(str, value)) if type(value) is tuple else str(value)
        for name, value in given.items()
        if name not in ("weights", "preprocess", "class_names")
    }


def _named(options: RunOptions, class_names: GivenNames | None) -> NamedModel:
    names: GivenNames | None = options.class_names
    if isinstance(class_names, str | PathLike):
        names = fspath(class_names)
    elif class_names is not None:
        names = tuple(read_classes(class_names)[0])
    return NamedModel(options.model or "", {**options.model_options(), "class_names": names})


def _checked(images: ImageSet) -> ImageSet:
    if len(images) == 0:
        raise ConfigError(f"--data '{images.name}' holds no images")
    return images
