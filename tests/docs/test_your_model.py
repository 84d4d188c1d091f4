"""The example of docs/your-model.md: a transfer-learning model with one sigmoid unit needs nothing but class names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).resolve().parents[2] / "docs" / "your-model.md"


def test_transfer_model_of_the_page_is_read(tmp_path):
    from evalkit.explainers.catalog import EXPLAINERS
    from evalkit.models.zoo.load import load_classifier

    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names = {}
    exec(code, names)  # noqa: S102 - the page's own example
    names["build"]().save(tmp_path / "cats_and_dogs.keras")
    classifier = load_classifier(str(tmp_path / "cats_and_dogs.keras"), class_names=["cat", "dog"])
    assert (classifier.n_classes, classifier.head.text) == (2, "sigmoid, one unit")
    images = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    np.testing.assert_allclose(classifier.probabilities(images).sum(axis=1), 1)
    path = "mobilenetv2_1.00_96/out_relu"
    assert f"`{path}`" in PAGE.read_text(encoding="utf-8")
    maps = [EXPLAINERS.build(text).explain(classifier, images, [1]) for text in ("gradcam", f"gradcam(layer={path})")]
    np.testing.assert_array_equal(*maps)
