"""Puts the shards of a run together: their stored results become one run folder. Nothing is computed again."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from evalkit.core.errors import ConfigError, StoreError
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.harness.merge_checks import Part, differences, require_complete, require_same_run
from evalkit.harness.planning.data_notes import notes_after
from evalkit.harness.planning.stored_facts import with_results
from evalkit.store.copying import copy_map_file
from evalkit.store.files import is_full
from evalkit.store.manifest import Manifest
from evalkit.store.maps import map_is_there
from evalkit.store.run_folder import REPORT, RunFolder

__all__ = ["merge_shards"]

Say = Callable[[str], None]


def merge_shards(paths: Sequence[Path], output: Path, say: Say) -> Manifest:
    """Put the run folders of all shards together, and return the manifest of the whole run.

    The result is what one run without ``--shard`` would have left, but for times. A new folder appears only when it is
    complete; a folder that holds the same run already is brought up to date.

    Args:
        paths: the run folders of the shards, in any order.
        output: the run folder to write.
        say: a function that prints one sentence on stderr.

    Raises:
        ConfigError: the folders are not all shards of one run, or ``output`` holds another run.
        StoreError: a folder is not a finished run, is damaged, or cannot be read or written.
    """
    if not paths:
        raise ConfigError("merge takes the run folders of all shards of a run; name them")
    parts = sorted((_part_at(path) for path in paths), key=lambda part: (part.shard.number, str(part.path)))
    require_same_run(parts)
    require_complete(parts)
    output = Path(os.path.realpath(output))
    RunFolder.check_writable(output)
    with _written(output, parts) as folder:
        manifest = _filled(folder, parts)
        notes = notes_after(folder.database.planned_images())
    for image_id, reason in manifest.data.unreadable:
        say(f"not scored: {image_id}: {reason}")
    for note in notes:
        say(note)
    if (output / REPORT).is_file():
        say(f"'{output / REPORT}' may show earlier scores; to update it: python -m evalkit report {output}")
    return manifest


def _part_at(path: Path) -> Part:
    folder = RunFolder.read(path)
    try:
        return Part.of(path, folder.read_manifest())
    finally:
        folder.close()


@contextlib.contextmanager
def _written(output: Path, parts: Sequence[Part]) -> Iterator[RunFolder]:
    """Open the folder to fill: one beside the output that takes its name at the end, or the run that it holds."""
    is_new = not (output.is_dir() and any(output.iterdir()))
    if not is_new:
        _require_same_run_at(output, parts)
    beside = output.with_name(f".{output.name}.merging")
    try:
        # After a kill the next merge continues with the same name, so that nothing is left for good.
        folder = RunFolder.write(beside if is_new else output, fresh=is_new)
        try:
            yield folder
            if is_new:
                folder.move_to(output)
        except BaseException:
            folder.close()
            if is_new:
                shutil.rmtree(beside, ignore_errors=True)
            raise
        folder.close()
    except OSError as error:
        what_next = "free some space" if is_full(error) else "name another folder"
        raise StoreError(
            f"--output '{output}' cannot be written: {error.strerror or error}; {what_next} and repeat the command"
        ) from error


def _require_same_run_at(output: Path, parts: Sequence[Part]) -> None:
    """Raise ConfigError if a folder that is not empty holds something else than the whole run of these shards."""
    earlier = RunFolder.manifest_at(output)
    if earlier is None:
        if any(entry.name not in (".lock", ".partial") for entry in output.iterdir()):
            raise ConfigError(f"--output '{output}' holds a run without a readable manifest; name a new folder")
        return
    if earlier.settings.shard:
        raise ConfigError(f"--output '{output}' holds {earlier.shard_in_words}; name a new folder")
    difference = next(differences(earlier, _whole(parts)), None)
    if difference is not None:
        raise ConfigError(f"--output '{output}' holds another run: {difference}; name a new folder")


def _filled(folder: RunFolder, parts: Sequence[Part]) -> Manifest:
    """Copy the results of the parts into a folder, and write its manifest."""
    planned = _whole(parts)
    # Written before anything is replaced, so that the folder of a killed process is marked as unfinished.
    folder.write_manifest(replace(planned, finished=None))
    with folder.database as database:
        database.clear_plan()
        database.touch()
    for part in parts:
        _take(folder, part)
    rows = folder.database.planned_images()
    manifest = with_results(
        planned,
        folder.database,
        rows,
        class_names={index: name for part in parts for index, name in part.manifest.model.class_names.items()},
        at_limit=sum(part.manifest.model.n_at_limit for part in parts),
        notes=_notes_of(parts),
    )
    folder.database.require_there()
    folder.write_manifest(manifest)
    return manifest


def _take(folder: RunFolder, part: Part) -> None:
    """Copy the maps of one shard, then its rows in one transaction."""
    source = RunFolder.read(part.path)
    try:
        with source.database.snapshot():
            held = sum(row.position in part.positions for row in source.database.planned_images())
            if held != len(part.positions):
                raise StoreError(
                    f"'{part.path}' is damaged: it has {held} of the {len(part.positions)} images of shard "
                    f"{part.shard}; repeat its command"
                )
            _copy_maps(folder, source)
            with folder.database as database:
                database.take_images(source.database)
                database.touch()
    finally:
        source.close()


def _copy_maps(folder: RunFolder, source: RunFolder) -> None:
    sizes = dict(source.database.map_files())
    for file, size_bytes in sizes.items():
        if not map_is_there(source.path, file, size_bytes):
            raise StoreError(f"'{source.path / file}' is missing or truncated; repeat the command of this shard")
        copy_map_file(source.path, folder.path, file)


def _whole(parts: Sequence[Part]) -> Manifest:
    """Return the manifest of the whole run without what follows from its results."""
    manifests = [part.manifest for part in parts]
    first = manifests[0]
    return replace(
        first,
        settings=replace(
            first.settings, shard="", batch_size=min(manifest.settings.batch_size for manifest in manifests)
        ),
        data=replace(first.data, whole=None),
        forward_passes=sum(manifest.forward_passes for manifest in manifests),
        backward_passes=sum(manifest.backward_passes for manifest in manifests),
        seconds=round(sum(manifest.seconds for manifest in manifests), 1),
        created=min(manifest.created for manifest in manifests),
        finished=max(manifest.finished or "" for manifest in manifests),
    )


def _notes_of(parts: Sequence[Part]) -> Callable[[str, Sequence[Mapping[str, float]]], Sequence[str]]:
    """Return the function from an explainer's text and the facts of its maps to sentences about them.

    An explainer that was an object cannot be built of its text: then the sentences of the shards are taken.
    """
    seed = parts[0].manifest.settings.seed

    def notes(text: str, facts: Sequence[Mapping[str, float]]) -> Sequence[str]:
        try:
            explainer = EXPLAINERS.build(text, seed=seed)
        except ConfigError:
            explainer = None
        if explainer is not None and explainer.text == text:
            return explainer.sentences(facts)
        return [
            f"shard {part.shard}: {note}"
            for part in parts
            for one in part.manifest.explainers
            if one.text == text
            for note in one.notes
        ]

    return notes
