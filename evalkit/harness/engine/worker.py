"""The worker: computes one image's maps and scores. It reads the photo, but not the run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.core.errors import EvalkitError, ImageError
from evalkit.datasets.entry import Entry
from evalkit.datasets.image import UNLABELLED
from evalkit.harness.engine.failures import why_failed
from evalkit.harness.engine.jobs import Advance, Cell, Job, MadeMap, Outcome, ReadPhoto
from evalkit.harness.engine.photo import Photo, Work
from evalkit.harness.engine.reading import read_photo
from evalkit.harness.planning.fitting import shared_layers
from evalkit.harness.planning.recipe import WorkRecipe
from evalkit.metrics.catalog import localizes
from evalkit.store.files import sha256_of
from evalkit.store.maps import npy_bytes
from evalkit.store.rank_hash import rank_hash

__all__ = ["Worker", "hashed"]

_NO_VALUES = np.zeros((0, 0), dtype=np.float32)


class Worker:
    """Does jobs with one classifier.

    Args:
        recipe: the model, images, explainers and metrics of the jobs; the classifier is built from it.

    Raises:
        ModelError: the classifier cannot be built.
    """

    def __init__(self, recipe: WorkRecipe) -> None:
        """See the class."""
        self._recipe = recipe
        self.classifier = recipe.model.build()
        self._explainers = {explainer.text: explainer for explainer in recipe.explainers}
        self._metrics = {metric.text: metric for metric in recipe.metrics}
        self._localizes = any(map(localizes, recipe.metrics))

    def do(self, job: Job, advance: Advance = lambda _what, _work: None) -> Outcome:
        """Do one job.

        Args:
            job: the missing cells of the image.
            advance: a function of the current step and its number of passes.

        Raises:
            EvalkitError: an error that prevents all further jobs, e.g. too little memory.
        """
        return self.begin(job, advance)()

    def begin(self, job: Job, advance: Advance = lambda _what, _work: None) -> Callable[[], Outcome]:
        """Do what needs the model, and return a function that scores without it; arguments and errors as ``do``.

        The function may be called in another thread while the next job begins.
        """
        count = replace(self.classifier.count)
        finish = self._begin(job, advance)
        forward = self.classifier.count.forward - count.forward
        backward = self.classifier.count.backward - count.backward
        batch_size = self.classifier.batch_size
        return lambda: replace(finish(), forward_passes=forward, backward_passes=backward, batch_size=batch_size)

    def _begin(self, job: Job, advance: Advance) -> Callable[[], Outcome]:
        try:
            photo_read = self._read(job.entry, job.read)
        except ImageError as error:
            unusable = Outcome(job.entry.id, problem=str(error))
            return lambda: unusable
        image, place = photo_read.fitted, photo_read.place
        changed = job.sha256 not in ("", image.sha256) or job.region_digest not in (None, place)
        work = self._all_work() if changed else self._work_of(job)
        stored = {} if changed else job.stored
        photo = Photo(
            self._recipe,
            self.classifier,
            image,
            advance,
            job.partners,
            lambda entry: self._read(entry, job.read).fitted,
        )
        region = job.region or (changed and self._localizes)
        repeats = [
            self._explainers[text] for text in sorted(self._repeatable() if changed and job.repeated else job.repeats)
        ]
        known = Outcome(job.entry.id, changed=changed, sha256=image.sha256, region_digest=place)

        def failed(error: BaseException) -> Outcome:
            # If the model fails on one image, only that image's cells are lost.
            return replace(known, **_nothing_scored(work, stored, why_failed("the model", error)))

        try:
            with self.classifier.sharing(shared_layers(self.classifier, [explainer for explainer, _ in work])):
                photo.run(work, stored, region=region)
                repeatability = photo.repeatability(repeats, stored)
        except (EvalkitError, KeyboardInterrupt):
            raise
        except BaseException as error:
            lost = failed(error)
            return lambda: lost
        computed = {made.explainer for made in photo.maps}
        answered = replace(
            known,
            object_share=image.object_share,
            is_scored=True,
            predicted=photo.predicted,
            targets=photo.targets,
            clean_score=photo.clean_score,
            is_correct=None if image.class_index == UNLABELLED else photo.is_right(image.targets),
            repeatability=repeatability,
            region_drops=photo.region_drops,
            lost=tuple(explainer.text for explainer, _ in work if explainer.text not in {*stored, *computed}),
        )

        def finish() -> Outcome:
            try:
                maps = tuple(hashed(made, keeps=job.keeps_maps) for made in photo.maps)
                return replace(answered, cells=tuple(photo.cells()), maps=maps)
            except (EvalkitError, KeyboardInterrupt):
                raise
            except BaseException as error:
                return failed(error)

        return finish

    def _read(self, entry: Entry, read: Mapping[str, ReadPhoto | str]) -> ReadPhoto:
        recipe = self._recipe
        return read_photo(entry, recipe.images, self.classifier, recipe.geometry, read)

    def _work_of(self, job: Job) -> Work:
        return [(self._explainers[text], [self._metrics[metric] for metric in metrics]) for text, metrics in job.cells]

    def _repeatable(self) -> list[str]:
        return [text for text, explainer in self._explainers.items() if explainer.is_repeatable]

    def _all_work(self) -> Work:
        return [(explainer, self._recipe.metrics) for explainer in self._recipe.explainers]


def hashed(made: MadeMap, *, keeps: bool) -> MadeMap:
    """Return a map with its hashes, and without its values if they are not kept."""
    values = made.saliency_map
    with_hashes = replace(made, sha256=sha256_of(npy_bytes(values)), rank_hash=rank_hash(values))
    return with_hashes if keeps else replace(with_hashes, saliency_map=_NO_VALUES)


def _nothing_scored(work: Work, stored: Mapping[str, object], reason: str) -> dict[str, Any]:
    cells = [
        Cell(explainer.text, metric.text, reason=reason, failed=True)
        for explainer, metrics in work
        for metric in metrics
    ]
    return {
        "cells": tuple(cells),
        "lost": tuple(explainer.text for explainer, _ in work if explainer.text not in stored),
    }
