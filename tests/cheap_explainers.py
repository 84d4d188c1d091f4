"""Explainers with parameters that make them cheap enough for tests on many models."""

from __future__ import annotations

from evalkit.explainers.base import Explainer
from evalkit.explainers.catalog import EXPLAINERS

__all__ = ["cheap_explainer", "cheap_spec"]

_FEW = {
    "smoothgrad": "samples=3",
    "integrated_gradients": "steps=3",
    "expected_gradients": "samples=3",
    "rise": "masks=60",
    "lime": "samples=60, segments=8",
    "kernel_shap": "samples=100, segments=14",
    "tf_explain.smoothgrad": "num_samples=2",
    "tf_explain.integrated_gradients": "n_steps=3",
}


def cheap_spec(name: str, patch_size: int = 8) -> str:
    """Return the spec of an explainer for tests.

    Args:
        name: its name in the catalog.
        patch_size: the patch size in pixels, where it has one.
    """
    if "patch_size" in EXPLAINERS.get(name).parameter_fields():
        return f"{name}(patch_size={patch_size})"
    return f"{name}({_FEW[name]})" if name in _FEW else name


def cheap_explainer(name: str, patch_size: int = 8) -> Explainer:
    """Return the explainer of ``cheap_spec``."""
    return EXPLAINERS.build(cheap_spec(name, patch_size))
