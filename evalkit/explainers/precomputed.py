"""Maps from files: a folder of maps, matched to the images by name and scored like an explainer's."""

from __future__ import annotations

import hashlib
import io
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.core import signature
from evalkit.core.errors import ConfigError, ImageError
from evalkit.core.names import escaped, path_of
from evalkit.core.specs import Literals
from evalkit.datasets.files import contents_of
from evalkit.datasets.image import LabelledImage
from evalkit.explainers.base import Explainer, MapFacts, Maps, Outputs, Photos
from evalkit.store.maps import as_float32, map_path

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["PrecomputedMaps", "precomputed_maps", "read_map_file", "report_missing"]

_ENDINGS = (".npy", ".png")
_GRAY_MODES = ("1", "L", "I", "I;16", "I;16B")
_NAMED = 20
NO_MAP, NOT_FINITE = "no map was given", "the map has NaN or infinite values"


@dataclass(frozen=True, eq=False)
class PrecomputedMaps(Explainer):
    """A folder of maps as an explainer in the leaderboard.

    Attributes:
        folder: the folder of the maps; tables show its name.
        files: the map files by image id.
        digest: the digest of all files' contents: when a map changes, all are scored again.
        problems: the reasons why maps cannot be scored, by image id.
        unused: the files that match no image.
    """

    name: ClassVar[str] = "maps"
    origin: ClassVar[Literal["", "precomputed"]] = "precomputed"
    method: ClassVar[str] = "made elsewhere"
    summary: ClassVar[str] = "maps from files, with `score`"
    reference: ClassVar[str] = "docs/score-maps.md"
    folder: Path
    files: Mapping[str, Path] = field(repr=False)
    digest: str
    problems: Mapping[str, str] = field(repr=False)
    unused: Sequence[str] = field(repr=False)

    @property
    def text(self) -> str:
        """``maps(<folder's name>)``."""
        return f"{self.name}({escaped(self.folder.name)})"

    @property
    def signature(self) -> str:
        """The name, and how maps of another size are resized."""
        return signature.line(self.name, {"v": self.version, "folder": escaped(self.folder.name), "resize": "bilinear"})

    @property
    def contents(self) -> str:
        """The digest of the files."""
        return self.digest

    def parameters(self) -> dict[str, Literals]:
        """Return the folder of the maps."""
        return {"folder": escaped(str(self.folder))}

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Raise ConfigError: maps from files need the photo's name."""
        raise ConfigError(f"{self.text} contains the maps of named photos; it cannot explain other images")

    def explain_photo(self, classifier: Classifier, image: LabelledImage, target: Outputs) -> tuple[Maps, MapFacts]:
        """Return the photo's map at the model's input size, float64 (1, H, W), and no facts.

        Raises:
            ImageError: the map is missing or cannot be read; the message is the reason stored with its cells.
        """
        if image.id not in self.files:
            raise ImageError(NO_MAP)
        values = read_map_file(_contents(self.files[image.id]), self.files[image.id].suffix)
        return _resized(values, classifier.input_size)[None].astype(np.float64), MapFacts()

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return 0: the real number is unknown."""
        return 0


def precomputed_maps(folders: Sequence[Path], image_ids: Sequence[str]) -> list[PrecomputedMaps]:
    """Find the maps of images in folders.

    The map of ``cats/1.jpg`` is ``cats/1.npy`` or, if no other image has this name, ``1.npy``, as ``.npy`` or ``.png``;
    or the file name that a run folder uses.

    Args:
        folders: the folders of maps.
        image_ids: the ids of all images of the set.

    Raises:
        ConfigError: not a folder, two folders of one name, two maps of one image, or no map that matches.
    """
    roots = [Path(os.path.abspath(path_of(folder))) for folder in folders]  # noqa: PTH100 - "." and ".." have names
    twice = [name for name, count in Counter(root.name for root in roots).items() if count > 1]
    if twice:
        raise ConfigError(f"MAPS_DIR: two folders have the name '{twice[0]}', which tables show; rename one")
    return [_maps_in(folder, root, image_ids) for folder, root in zip(folders, roots, strict=True)]


def report_missing(made: PrecomputedMaps, image_ids: Sequence[str], say: Callable[[str], None]) -> None:
    """Name the images whose map is missing or cannot be scored, and the files that match none.

    Args:
        made: the maps, from ``precomputed_maps``.
        image_ids: the ids of the images to score.
        say: a function that prints one sentence on stderr.
    """
    by_reason: dict[str, list[str]] = {}
    for image_id in image_ids:
        reason = made.problems.get(image_id, "") if image_id in made.files else NO_MAP
        if reason:
            by_reason.setdefault(reason, []).append(image_id)
    for reason, names in {**by_reason, "no image has this name": made.unused}.items():
        if names:
            more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            say(f"{made.text}: {len(names)} not scored, {reason}: {', '.join(names[:_NAMED])}{more}")


def _maps_in(folder: Path, root: Path, image_ids: Sequence[str]) -> PrecomputedMaps:
    if not root.is_dir():
        raise ConfigError(
            f"MAPS_DIR '{folder}' is not a folder; name one with a map for each image: <image's name>.npy"
        )
    files: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if _is_map(path):
            name = _composed(path.relative_to(root).with_suffix(path.suffix.lower()).as_posix())
            _require_one(folder, files.get(name, path), path, name)
            files[name] = path
    matched = _matched(folder, files, image_ids)
    if not matched:
        example = PurePosixPath(image_ids[0]).with_suffix(".npy").name if image_ids else "<image's name>.npy"
        raise ConfigError(
            f"MAPS_DIR '{folder}': none of its {len(files)} .npy and .png files has the name of an image; the first "
            f"image's map would be '{example}'"
        )
    used = set(matched.values())
    unused = [name for name, path in files.items() if path not in used]
    return PrecomputedMaps(root, matched, *_checked(matched), unused)


def _composed(name: str) -> str:
    """Return a name in Unicode's composed form: some systems store letters and accents separately."""
    return unicodedata.normalize("NFC", name)


def _is_map(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS and path.is_file() and not path.name.startswith(".")


def _matched(folder: Path, files: Mapping[str, Path], image_ids: Sequence[str]) -> dict[str, Path]:
    stems = Counter(PurePosixPath(image_id).stem for image_id in image_ids)
    paths = Counter(PurePosixPath(image_id).with_suffix("").as_posix() for image_id in image_ids)
    ids = set(image_ids)
    matched = {}
    for image_id in image_ids:
        own = PurePosixPath(image_id)
        names = [image_id, PurePosixPath(map_path("x", image_id)).stem]
        # A shorter name must belong to one image only: cat.jpg and cat.png share no map.
        short = own.with_suffix("").as_posix()
        names += [short] if paths[short] == 1 and short not in ids else []
        names += [own.stem] if stems[own.stem] == 1 and own.stem not in ids else []
        wanted = dict.fromkeys(name + ending for name in names for ending in _ENDINGS)
        candidates = [files[name] for name in map(_composed, wanted) if name in files]
        if candidates:
            _require_one(folder, candidates[0], candidates[-1], image_id)
            matched[image_id] = candidates[0]
    return matched


def _require_one(folder: Path, first: Path, last: Path, image_id: str) -> None:
    if first != last:
        raise ConfigError(
            f"MAPS_DIR '{folder}': '{first.name}' and '{last.name}' are both maps of image '{image_id}'; remove one"
        )


def _checked(matched: Mapping[str, Path]) -> tuple[str, dict[str, str]]:
    """Return the digest of all files, and the reasons why maps cannot be scored, by image id."""
    digest = hashlib.sha256()
    problems = {}
    for image_id, path in matched.items():
        try:
            data = _contents(path)
            digest.update(f"{image_id}:{hashlib.sha256(data).hexdigest()}\n".encode())
            problem = "" if np.isfinite(read_map_file(data, path.suffix)).all() else NOT_FINITE
        except ImageError as error:
            problem = str(error)
        if problem:
            problems[image_id] = problem
    return digest.hexdigest(), problems


def _contents(path: Path) -> bytes:
    try:
        return contents_of(path)
    except ImageError as error:
        raise ImageError(f"the map: {error}") from error


def read_map_file(data: bytes, ending: str) -> NDArray[np.float32]:
    """Read one map.

    Args:
        data: the contents of a ``.npy`` file of numbers (H, W), also (1, H, W) or (H, W, 1); or of a gray PNG of 8 or
            16 bits, whose values are not scaled.
        ending: the ending of the file's name, ``.npy`` or ``.png``.

    Returns:
        float32 (H, W), higher = more important, see ``as_float32``; may hold NaN.

    Raises:
        ImageError: the file is not a map; the message is the reason stored with its cells.
    """
    values = _from_png(data) if ending.lower() == ".png" else _from_npy(data)
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[0] if values.shape[0] == 1 else values[:, :, 0]
    if values.ndim != 2 or not values.size:
        raise ImageError(f"the map file has shape {values.shape}; (height, width) is needed")
    if values.dtype.kind not in "fiub":
        raise ImageError(f"the map file holds {values.dtype}; numbers are needed")
    return as_float32(values)


def _from_npy(data: bytes) -> NDArray[np.generic]:
    try:
        return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
    except Exception as error:  # a damaged header raises nearly anything
        raise ImageError("the map file is no NumPy array of numbers") from error


def _from_png(data: bytes) -> NDArray[np.generic]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.mode not in _GRAY_MODES:
                raise ImageError("the map file is a color picture; a gray one, or the numbers as .npy, is needed")
            return np.array(image)
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError("the map file cannot be decoded as PNG") from error


def _resized(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a map to the model's input as photos are resized: bilinear, antialiased if it shrinks."""
    from PIL import Image

    if values.shape == size or not np.isfinite(values).all():
        return values if values.shape == size else np.full(size, np.nan, dtype=np.float32)
    resized = Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32)
