"""The check before a run: reads the data, and classifies each image once if there is a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.core.errors import ConfigError, DataError
from evalkit.core.settings import RunOptions
from evalkit.datasets.class_map import ClassMap, read_class_map
from evalkit.datasets.class_order import ClassOrder
from evalkit.datasets.classes import match_classes, require_labelled
from evalkit.datasets.entry import Entry
from evalkit.datasets.geometry import fit, geometry_of
from evalkit.datasets.image import UNLABELLED, LabelledImage
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import open_image_set
from evalkit.datasets.output_names import OutputNames
from evalkit.datasets.set_channels import channels_note
from evalkit.datasets.validation import DataReport, ModelReport, Validation, inspect

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["validate_data"]

Watch = Callable[[Iterable[Entry]], Iterable[Entry]]


def validate_data(options: RunOptions, watch: Watch = lambda entries: entries) -> Validation:
    """Check the data and, if there is a model, how it classifies them; nothing is explained or written.

    Args:
        options: the options of ``run`` for data and model. Without ``model``, none is loaded.
        watch: a function that passes the entries on, e.g. to show progress.

    Raises:
        EvalkitError: the data cannot be opened or the model cannot be loaded.
    """
    if not options.data:
        raise ConfigError("--data is missing; give one of the formats in `list datasets`")
    images = open_image_set(options.data, options.data_format)
    class_map = read_class_map(Path(options.class_map)) if options.class_map else None
    if options.model is None:
        images = _limited(images, images, options)
        data = inspect(images, watch)
        return Validation(data, None, (*_unreadable(data), *_unlabelled(images, options)))
    check = _ModelCheck(images, options, class_map)
    # As in a run, the limit counts images whose class has an output.
    data = inspect(_limited(images, check.known or images, options), watch, check.look)
    return Validation(data, check.report(), (*_unreadable(data), *check.blocking))


def _limited(images: ImageSet, known: ImageSet, options: RunOptions) -> ImageSet:
    """Return the images that a run with this limit would use, drawn from the known ones."""
    if options.limit is None:
        return images
    drawn = {entry.id for entry in known.limit(options.limit, options.seed or 0).entries}
    return images.with_entries(entry for entry in images.entries if entry.id in drawn)


def _unlabelled(images: ImageSet, options: RunOptions) -> tuple[str, ...]:
    try:
        require_labelled(images)
    except DataError as error:
        return () if options.target == "predicted" else (str(error),)
    return ()


def _unreadable(data: DataReport) -> tuple[str, ...]:
    return () if data.n_read else (f"{data.name}: none of its {data.n_images} photos can be read",)


class _ModelCheck:
    """Matches the classes with a model's outputs, and counts how often the model is right."""

    def __init__(self, images: ImageSet, options: RunOptions, class_map: ClassMap | None) -> None:
        from evalkit.harness.planning.class_order import order_notes
        from evalkit.harness.planning.preprocess_check import is_known

        self.options = options
        self.geometry = geometry_of(options.geometry)
        self.classifier = _loaded(options, images, class_map)
        self.blocking: tuple[str, ...] = ()
        self.order = ""
        self.notes: Sequence[str] = ()
        self.n_asked = self.n_right = 0
        self.known: ImageSet | None = None
        self.others: Mapping[ClassOrder, Mapping[int, int]] = {}
        model = self.classifier
        labels = dict.fromkeys(entry.label for entry in images.entries if entry.label and entry.class_index is None)
        try:
            match = match_classes(
                images,
                model.class_names,
                model.n_classes,
                require_labels=(options.target or "label") == "label",
                class_ids=model.class_ids,
                class_map=class_map,
                class_order=options.class_order,
            )
        except DataError as error:
            self.blocking = (str(error),)
            names = OutputNames(model.class_names, model.class_ids, model.n_classes)
            self.matched: dict[str, Entry] = {}
            self.unknown = tuple(label for label in labels if not names.find(label))
        else:
            self.known, self.order, self.others = match.images, match.order, match.others
            self.matched = {entry.id: entry for entry in match.images.entries}
            try:
                converted = channels_note(images, model.channels)
            except DataError as error:
                self.blocking, self.matched = (str(error),), {}
            else:
                order = order_notes(match, model, self.geometry, compare=not is_known(options))
                self.notes = list(filter(None, (*match.notes, *order, model.size_note, converted)))
            known = {entry.label for entry in match.images.entries if entry.class_index != UNLABELLED}
            self.unknown = tuple(label for label in labels if label not in known)

    def look(self, entry: Entry, image: LabelledImage) -> None:
        """Classify one image if its class has an output."""
        matched = self.matched.get(entry.id)
        if matched is None or matched.class_index is None or matched.class_index < 0:
            return
        pixels = fit(image, self.classifier.input_size, self.geometry, self.classifier.channels).pixels
        scores = self.classifier.probabilities(pixels[None])[0]
        self.n_asked += 1
        targets = matched.outputs or (matched.class_index,)
        self.n_right += self.classifier.head.is_right(scores, targets)

    def report(self) -> ModelReport:
        """Return the result."""
        from evalkit.harness.planning.preprocess_check import is_known, look_at

        better = ""
        if self.known is not None and not is_known(self.options):
            better = look_at(self.classifier, self.known, self.geometry, orders=self.others).better
        return ModelReport(
            name=self.classifier.name,
            n_classes=self.classifier.n_classes,
            unknown_labels=self.unknown,
            n_asked=self.n_asked,
            n_right=self.n_right,
            notes=(*self.notes, *filter(None, (self.classifier.doubt, better))),
            facts=self.classifier.facts,
            class_order=self.order,
        )


def _loaded(options: RunOptions, images: ImageSet, class_map: ClassMap | None) -> Classifier:
    from evalkit.harness.planning.preprocess_check import loaded
    from evalkit.models.zoo.load import load_classifier

    def load(changed: Mapping[str, str]) -> Classifier:
        return load_classifier(options.model or "", **{**options.model_options(), **changed})

    return loaded(load, images, options, class_map)
