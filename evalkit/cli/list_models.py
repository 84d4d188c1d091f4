"""The entries of ``list models``."""

from __future__ import annotations

from evalkit.core.errors import ConfigError, nearest
from evalkit.core.specs import simplify
from evalkit.datasets.scenes.scenes import CLASS_NAMES, SIZE_PX
from evalkit.models.applications import APPLICATIONS, MINI, MINI_FAMILY, MINI_SHORTCUT
from evalkit.report.tables.component_list import ListItem
from evalkit.report.tables.item_list import ItemEntry

__all__ = ["MODEL_GROUPS", "model_entries", "model_entry"]

MODEL_GROUPS = {
    "package": "with their weights in the package, for --data scenes",
    "applications": "keras.applications with ImageNet weights, or with --weights FILE",
    "yours": "with --preprocess, unless the model has it in itself",
}
_OWN = (
    ("FILE.keras", "--preprocess", "a saved Keras model; FILE.h5 too"),
    ("FOLDER", "--preprocess", "a SavedModel"),
    ("FILE.onnx", "--preprocess", "an ONNX model; pip install 'evalkit-saliency[onnx]'"),
    ("FILE.tflite", "--preprocess", "a TFLite model"),
    ("module:function", "--preprocess", "a function that returns a Keras model"),
    ("module:function", "none", "a function of images in 0..255; docs/models.md"),
)


def model_entries() -> list[ItemEntry]:
    """Return every model, and every kind of file that is taken as one."""
    packaged = {
        MINI: "VGG16 at an eighth of the width",
        MINI_SHORTCUT: "vgg16-mini that also uses a mark beside the object",
    }
    data = {MINI: "scenes", MINI_SHORTCUT: '"scenes(shortcut=mark)"'}
    scenes = {
        "input": f"{SIZE_PX} x {SIZE_PX} pixels, RGB",
        "classes": ", ".join(CLASS_NAMES),
        "weights": "in the package",
        "more": "docs/vgg16-mini.md",
    }
    return [
        *(_entry("package", name, MINI_FAMILY, what, scenes, data[name]) for name, what in packaged.items()),
        *(
            _entry(
                "applications",
                name,
                model.family,
                f"keras.applications.{model.function}",
                {
                    "input": "the size that Keras builds it for",
                    "classes": "ImageNet's 1,000; with --weights and --class-names your own",
                    "weights": "ImageNet's, which Keras downloads once; or --weights FILE",
                },
                "photos",
            )
            for name, model in APPLICATIONS.items()
        ),
        *(_entry("yours", *given, {}, "") for given in _OWN),
    ]


def model_entry(given: str) -> ItemEntry:
    """Return the entry of one model by its name, however it is spelled (``ResNet50-V2``).

    Raises:
        ConfigError: no named model; files and functions have no entry.
    """
    named = {simplify(entry.item.name): entry for entry in model_entries() if entry.facts}
    if entry := named.get(simplify(given)):
        return entry
    allowed = nearest(simplify(given), [entry.item.name for entry in named.values()])
    raise ConfigError(f"list models: no model is called '{given}': {allowed}")


def _entry(group: str, name: str, preprocess: str, what: str, facts: dict[str, str], data: str) -> ItemEntry:
    is_given = preprocess == "--preprocess"
    row = {"model": name, "preprocess": None if is_given else preprocess, "what it is": what}
    known = {"preprocess": preprocess, **facts} if facts else {}
    example = f"python -m evalkit run --model {name} --data {data}" if data else ""
    cells = () if group == "yours" else (preprocess,)
    return ItemEntry(group, ListItem(name, cells, what), row, known, example)
