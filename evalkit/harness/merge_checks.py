"""Whether run folders are all the shards of one run, from their manifests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import asdict, replace

from evalkit.core.errors import ConfigError, StoreError
from evalkit.core.options import Shard, read_shard
from evalkit.store.manifest import Manifest, ModelFacts, WholeSet

__all__ = ["Part", "differences", "require_complete", "require_same_run"]

_OF_SHARD = {"shard": "", "batch_size": 0}  # settings that may differ; the batch size changes no number
_NAMED = 5


@dataclass(frozen=True)
class Part:
    """A run folder of a shard.

    Attributes:
        path: the run folder.
        manifest: its manifest.
        shard: its shard.
        whole: the image set that it is a part of.
    """

    path: Path
    manifest: Manifest
    shard: Shard
    whole: WholeSet

    @classmethod
    def of(cls, path: Path, manifest: Manifest) -> Part:
        """Return the part that a run folder holds.

        Raises:
            ConfigError: the run is no shard.
            StoreError: the run is not finished.
        """
        if not manifest.settings.shard or manifest.data.whole is None:
            raise ConfigError(f"'{path}' is no shard: it was computed without --shard; name folders of shards only")
        if manifest.finished is None:
            raise StoreError(f"'{path}' is not finished; repeat the command that started it, then merge again")
        return cls(path, manifest, read_shard("shard", manifest.settings.shard), manifest.data.whole)

    @property
    def positions(self) -> range:
        """The positions of its images in the whole set."""
        return self.shard.positions(self.whole.n_images)


def require_complete(parts: Sequence[Part]) -> None:
    """Raise ConfigError if a shard is missing or there twice; shards without an image need not be there.

    Args:
        parts: the parts, of one run.
    """
    first = parts[0]
    by_number: dict[int, Part] = {}
    for part in parts:
        if part.shard.count != first.shard.count:
            raise ConfigError(
                f"'{first.path}' is shard {first.shard} and '{part.path}' is shard {part.shard}; all must be of the "
                "same number of shards"
            )
        twice = by_number.setdefault(part.shard.number, part)
        if twice is not part:
            raise ConfigError(f"shard {part.shard} is there twice: '{twice.path}' and '{part.path}'; name one of them")
    n_wanted = min(first.shard.count, first.whole.n_images)
    missing = [str(Shard(number, first.shard.count)) for number in range(1, n_wanted + 1) if number not in by_number]
    if missing:
        more = len(missing) - _NAMED
        named = ", ".join(missing[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        raise ConfigError(
            f"of the {n_wanted} shards of '{first.path}', {named} {'is' if len(missing) == 1 else 'are'} missing; "
            "name the run folders of all shards"
        )


def require_same_run(parts: Sequence[Part]) -> None:
    """Raise ConfigError, with the first setting that differs, if the parts are not of one run."""
    first, *others = parts
    for other in others:
        difference = next(differences(first.manifest, other.manifest), None)
        if difference is not None:
            raise ConfigError(
                f"'{first.path}' and '{other.path}' are not of one run: {difference}; compute both with the same "
                "options, packages, model and images"
            )


def differences(first: Manifest, other: Manifest) -> Iterator[str]:
    """Yield what differs between two runs besides their images and what follows from these, in words."""
    yield from _differing(_settings_of(first.signature.run), _settings_of(other.signature.run))
    yield from _differing(first.versions, other.versions)
    for noun, texts, lines in (
        ("metrics", (first.metrics, other.metrics), (first.signature.metrics, other.signature.metrics)),
        (
            "explainers",
            ([one.text for one in first.explainers], [one.text for one in other.explainers]),
            (first.signature.explainers, other.signature.explainers),
        ),
    ):
        if list(texts[0]) != list(texts[1]):
            yield f"{noun} {', '.join(texts[0])} and {', '.join(texts[1])}"
        for text in texts[0]:
            parts = _differing(*(_settings_of(line[text]) for line in lines))
            yield from (f"{part} of {text}" for part in parts)
    yield from _differing({**asdict(first.settings), **_OF_SHARD}, {**asdict(other.settings), **_OF_SHARD})
    yield from _differing(_without_results(first.model), _without_results(other.model))
    yield from _differing(_fixed_data(first), _fixed_data(other))


def _settings_of(line: str) -> dict[str, str]:
    """Return the settings of a signature line."""
    pairs = [part.partition(":") for part in re.split(r" ?\| ?", line) if ":" in part]
    return {name: value for name, _, value in pairs}


def _differing(first: Mapping[str, object], other: Mapping[str, object]) -> Iterator[str]:
    for name in {**first, **other}:
        if first.get(name) != other.get(name):
            yield f"{name} {first.get(name, 'none')} and {other.get(name, 'none')}"


def _without_results(model: ModelFacts) -> dict[str, object]:
    """Return the facts of a model that do not depend on the images."""
    results = ModelFacts(
        model.name,
        model.fingerprint,
        model.preprocess,
        model.input_size,
        model.n_classes,
        model.target_layer,
        model.precision,
        head=model.head,
        channels=model.channels,
        given=model.given,
    )
    return {f"model's {name}": value for name, value in asdict(results).items()}


def _fixed_data(manifest: Manifest) -> dict[str, object]:
    data = manifest.data
    whole = replace(data.whole, digest=data.whole.digest[:16]) if data.whole else None
    return {
        "format of the data": data.kind,
        "class order": data.class_order,
        "number of images": whole.n_images if whole else None,
        "digest of the images' ids and classes": whole.digest if whole else None,
        "mean color": data.mean_color,
    }
