"""The named models: those of ``keras.applications`` and vgg16-mini; importing this does not import TensorFlow.

A test compares the tables with the installed Keras.
"""

from __future__ import annotations

from typing import NamedTuple

from evalkit.core.specs import simplify

__all__ = ["APPLICATIONS", "IN_PACKAGE", "MINI", "MINI_FAMILY", "MINI_SHORTCUT", "PREPROCESS_FAMILIES", "Application"]

MINI, MINI_SHORTCUT, MINI_FAMILY = "vgg16-mini", "vgg16-mini-shortcut", "vgg16"
"""The models in the package, and the preprocessing that they were trained with."""
IN_PACKAGE: dict[str, str] = {simplify(name): name for name in (MINI, MINI_SHORTCUT)}


class Application(NamedTuple):
    """One model of ``keras.applications``: the function that builds it, and the module of its preprocessing."""

    function: str
    family: str


_FAMILIES: dict[str, tuple[str, ...]] = {
    "convnext": ("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge"),
    "densenet": ("DenseNet121", "DenseNet169", "DenseNet201"),
    "efficientnet": tuple(f"EfficientNetB{index}" for index in range(8)),
    "efficientnet_v2": tuple(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    "inception_resnet_v2": ("InceptionResNetV2",),
    "inception_v3": ("InceptionV3",),
    "mobilenet": ("MobileNet",),
    "mobilenet_v2": ("MobileNetV2",),
    "mobilenet_v3": ("MobileNetV3Small", "MobileNetV3Large"),
    "nasnet": ("NASNetMobile", "NASNetLarge"),
    "resnet": ("ResNet50", "ResNet101", "ResNet152"),
    "resnet_v2": ("ResNet50V2", "ResNet101V2", "ResNet152V2"),
    "vgg16": ("VGG16",),
    "vgg19": ("VGG19",),
    "xception": ("Xception",),
}


APPLICATIONS: dict[str, Application] = {
    simplify(function): Application(function, family)
    for family, functions in _FAMILIES.items()
    for function in functions
}

# The values of `--preprocess`: `none`, or the keras.applications module whose preprocess_input is used.
PREPROCESS_FAMILIES: tuple[str, ...] = ("none", *_FAMILIES)
