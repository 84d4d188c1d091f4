"""Photos as jobs need them: read, and fitted to the model's input, where the job is done or ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from evalkit.core.errors import ImageError
from evalkit.core.names import escaped
from evalkit.datasets.entry import Entry
from evalkit.datasets.geometry import Geometry, fit
from evalkit.datasets.image_set import ImageSource
from evalkit.harness.engine.jobs import Job, ReadPhoto

__all__ = ["InputForm", "ReadAhead", "read_photo", "with_photos"]

_THREADS = 3  # decoding leaves Python's lock most of the time


class InputForm(Protocol):
    """The form of a model's input.

    Attributes:
        input_size: (height, width) in pixels.
        channels: the number of channels.
    """

    input_size: tuple[int, int]
    channels: int


def read_photo(
    entry: Entry, source: ImageSource, form: InputForm, geometry: Geometry, read: Mapping[str, ReadPhoto | str]
) -> ReadPhoto:
    """Return a photo that was read ahead, or read it now.

    Args:
        entry: the photo.
        source: the reader of the set's images.
        form: the model's input.
        geometry: how the photo is fitted to it.
        read: what was read ahead, by the entry's id: photos, or why they cannot be used.

    Raises:
        ImageError: the photo cannot be used; the message is the reason that is stored.
    """
    known = read.get(entry.id)
    if isinstance(known, str):
        raise ImageError(known)
    if known is not None:
        return known
    try:
        image = source.read(entry)
        return ReadPhoto(fit(image, form.input_size, geometry, form.channels), image.place)
    except ImageError as error:
        raise ImageError(escaped(str(error))) from error


def with_photos(job: Job, source: ImageSource, form: InputForm, geometry: Geometry) -> Job:
    """Return a job with the photos that it needs: its own and those of partners."""
    read: dict[str, ReadPhoto | str] = {}
    for entry in (job.entry, *job.partners.entries):
        try:
            read[entry.id] = read_photo(entry, source, form, geometry, {})
        except ImageError as error:
            read[entry.id] = str(error)
    return replace(job, read=read)


class ReadAhead:
    """Reads the photos of jobs in threads, a few jobs ahead.

    Args:
        jobs: the jobs, consumed in the calling thread, as many as are read ahead.
        source: the reader of the set's images; None = the photos are read where the jobs are done.
        form: the model's input.
        geometry: how photos are fitted to it.
        ahead: the number of jobs that are read ahead, 1 or more.
    """

    def __init__(
        self, jobs: Iterable[Job], source: ImageSource | None, form: InputForm, geometry: Geometry, ahead: int
    ) -> None:
        """See the class."""
        self._jobs: Iterator[Job] = iter(jobs)
        self._source, self._form, self._geometry, self._ahead = source, form, geometry, ahead
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="photos")
        self._reading: deque[Future[Job]] = deque()
        self._is_over = False

    def close(self) -> None:
        """Stop reading."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def is_over(self) -> bool:
        """Whether every job was taken."""
        self._fill()
        return self._is_over and not self._reading

    def take(self) -> Job | None:
        """Return the next job whose photos are read; None if none is yet, or all were taken."""
        self._fill()
        if not self._reading or not self._reading[0].done():
            return None
        job = self._reading.popleft().result()
        self._fill()
        return job

    def _fill(self) -> None:
        while not self._is_over and len(self._reading) < self._ahead:
            job = next(self._jobs, None)
            if job is None:
                self._is_over = True
                return
            self._reading.append(self._threads.submit(self._with_photos, job))

    def _with_photos(self, job: Job) -> Job:
        return job if self._source is None else with_photos(job, self._source, self._form, self._geometry)
