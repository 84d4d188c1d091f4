"""Maps of xplique 2.0.2 for ``benchmarks/parity.py``, which wrote the folder. Runs where xplique is installed, alone.

``python -m venv xp && xp/bin/pip install xplique==2.0.2 "tensorflow-cpu<=2.20"``, then
``xp/bin/python benchmarks/peers/xplique_maps.py FOLDER``. It needs neither evalkit nor the project's own environment.

"shipped" maps are those of the class's defaults on preprocessed photos: the gradient family on the logits, as the
library's documentation recommends, the others on the softmax. Where it is not "shipped", settings or random numbers of
evalkit are put in the place of the library's; its own code computes the rest.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, Ridge
from xplique import attributions
from xplique.attributions.gradient_statistics.gradient_statistic import GradientStatistic

Array = NDArray[Any]

_END_WEIGHT = 1e6  # of the full and the empty coalition, whose weight in Shapley's kernel is infinite
_BATCH = 32


class Peer:
    """xplique on one model.

    Attributes:
        softmax: the model.
        logits: the same without its softmax.
        photos: the preprocessed photos, float32 (N, H, W, 3).
        targets: one-hot classes, float32 (N, C).
        maps: the maps so far, (N, H, W) or (N, H, W, 3).
    """

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "inputs.npz") as given:
            self.given = dict(given)
        self.softmax, self.logits = (keras.models.load_model(folder / "model.keras") for _ in range(2))
        self.logits.layers[-1].activation = keras.activations.linear
        self.photos = keras.applications.vgg16.preprocess_input(self.given["pixels"].astype(np.float32))
        self.targets = np.eye(self.softmax.output_shape[1], dtype=np.float32)[self.given["targets"]]
        self.maps: dict[str, Array] = {}

    def keep(self, name: str, explainer: Any, count: int | None = None) -> None:  # noqa: ANN401 - of xplique
        found = np.asarray(explainer.explain(self.photos[:count], self.targets[:count]))
        self.maps[name] = found[..., 0] if found.shape[-1] == 1 else found
        print(name, self.maps[name].shape, flush=True)


def gradients(peer: Peer) -> None:
    """Make the maps of the gradient family: as shipped, and unreduced for the same reduction as ours."""
    for name in ("Saliency", "GradientInput", "GuidedBackprop"):
        peer.keep(f"{name} shipped", getattr(attributions, name)(peer.logits, batch_size=_BATCH))
        peer.keep(f"{name} unreduced", getattr(attributions, name)(peer.logits, batch_size=_BATCH, reducer=None))
    peer.keep("Saliency of the softmax", attributions.Saliency(peer.softmax))
    tf.random.set_seed(0)
    peer.keep("SmoothGrad shipped", attributions.SmoothGrad(peer.logits))
    peer.keep("IntegratedGradients shipped", attributions.IntegratedGradients(peer.logits))


def noise(peer: Peer) -> None:
    """Make SmoothGrad with evalkit's noise, whose channels are RGB and not BGR as the photos' are."""
    noises = iter(peer.given["noise"][..., ::-1].astype(np.float32))
    drawn = GradientStatistic._perturb_samples
    GradientStatistic._perturb_samples = staticmethod(lambda photo, count, *_: photo + next(noises)[:count])
    samples = peer.given["noise"].shape[1]
    explainer = attributions.SmoothGrad(peer.logits, nb_samples=samples, batch_size=samples, reducer=None)
    peer.keep("SmoothGrad noise", explainer)
    GradientStatistic._perturb_samples = drawn


def cams(peer: Peer) -> None:
    """Make Grad-CAM and Grad-CAM++ on evalkit's layer, which is also the library's choice."""
    layer = str(peer.given["layer"])
    peer.keep("GradCAM shipped", attributions.GradCAM(peer.logits, conv_layer=layer))
    peer.keep("GradCAMPP shipped", attributions.GradCAMPP(peer.logits, conv_layer=layer))
    resize = tf.image.resize
    tf.image.resize = lambda maps, size, **_: resize(maps, size, method="bilinear")
    peer.keep("GradCAM bilinear", attributions.GradCAM(peer.logits, conv_layer=layer))
    peer.keep("GradCAMPP bilinear", attributions.GradCAMPP(peer.logits, conv_layer=layer))
    # Its weights use the features only through their mean: multiplied by h w it is the paper's sum.
    weights = attributions.GradCAMPP._compute_weights
    attributions.GradCAMPP._compute_weights = staticmethod(
        lambda gradients, features: weights(gradients, features * float(np.prod(features.shape[1:3])))
    )
    peer.keep("GradCAMPP sum", attributions.GradCAMPP(peer.logits, conv_layer=layer))
    attributions.GradCAMPP._compute_weights, tf.image.resize = weights, resize


def occlusion(peer: Peer) -> None:
    """Make occlusion: as shipped on two photos, because its patch is 3 px, and with evalkit's patches."""
    peer.keep("Occlusion shipped", attributions.Occlusion(peer.softmax, batch_size=_BATCH), 2)
    side = int(peer.given["patch_size"])
    peer.keep("Occlusion patches", attributions.Occlusion(peer.softmax, patch_size=side, patch_stride=side))


def slow(peer: Peer) -> None:
    """Make RISE, LIME and KernelSHAP as shipped, on few photos: minutes each."""
    for explainer, count in (
        (attributions.Rise(peer.softmax, batch_size=_BATCH), 2),
        (attributions.Lime(peer.softmax, batch_size=_BATCH), 2),
        (attributions.KernelShap(peer.softmax), 1),
    ):
        tf.random.set_seed(0)
        peer.keep(f"{type(explainer).__name__} shipped", explainer, count)


def rise(peer: Peer) -> None:
    """Make RISE with evalkit's masks."""
    masks = peer.given["masks"].astype(np.float32)[..., None]  # (N, masks, H, W, 1)
    own_masks, own_apply = attributions.Rise._get_masks, attributions.Rise._apply_masks
    attributions.Rise._get_masks = staticmethod(lambda *_: tf.zeros([masks.shape[1], 1]))
    found = []
    for photo, target, own in zip(peer.photos, peer.targets, masks, strict=True):
        blocks = iter([own[start : start + _BATCH] for start in range(0, len(own), _BATCH)])

        def applied(image: tf.Tensor, _: tf.Tensor, value: float, blocks: Any = blocks) -> tuple[Array, Array]:  # noqa: ANN401
            block = next(blocks)
            return block * image[None] + (1 - block) * value, block

        attributions.Rise._apply_masks = staticmethod(applied)
        explainer = attributions.Rise(peer.softmax, batch_size=_BATCH, nb_samples=len(own))
        found.append(np.asarray(explainer.explain(photo[None], target[None]))[0, ..., 0])
    attributions.Rise._get_masks, attributions.Rise._apply_masks = own_masks, own_apply
    peer.maps["Rise masks"] = np.stack(found)
    # Divided by N p, as in the paper, where the library divides each pixel by the sum of its masks.
    share = (masks[..., 0].sum(axis=1) + attributions.Rise.EPSILON) / (masks.shape[1] * 0.5)
    peer.maps["Rise masks, N p"] = peer.maps["Rise masks"] * share


def superpixels(peer: Peer) -> None:
    """Make LIME and KernelSHAP with evalkit's segments and coalitions."""
    for method in ("lime", "kernel_shap"):
        found = []
        for index in range(len(peer.photos)):
            segments = tf.constant(peer.given[f"{method} segments"][index], tf.int32)
            coalitions = peer.given[f"{method} coalitions {index}"]
            weights = _lime_weights(coalitions) if method == "lime" else _shapley_weights(coalitions)
            found.append(_regressed(peer, method, index, segments, coalitions, weights))
        name = "Lime" if method == "lime" else "KernelShap"
        peer.maps[f"{name} coalitions"] = np.stack(found)


def _regressed(peer: Peer, method: str, index: int, segments: tf.Tensor, coalitions: Array, weights: Array) -> Array:
    common = {"map_to_interpret_space": lambda _: segments, "ref_value": np.zeros(3, np.float32)}
    if method == "lime":
        explainer = attributions.Lime(peer.softmax, interpretable_model=Ridge(alpha=1.0), **common)
    else:
        explainer = attributions.KernelShap(peer.softmax, **common)
        explainer.interpretable_model = LinearRegression()
    remaining = iter(np.array_split(weights, range(_BATCH, len(weights), _BATCH)))
    explainer.batch_size, explainer.nb_samples = _BATCH, len(coalitions)
    explainer.pertub_func = lambda *_: tf.constant(coalitions, tf.int32)
    explainer.similarity_kernel = lambda *_: tf.constant(next(remaining), tf.float64)
    found = explainer.explain(peer.photos[index : index + 1], peer.targets[index : index + 1])
    return np.asarray(found)[0, ..., 0]


def _lime_weights(coalitions: Array) -> Array:
    """Return exp(-D^2 / 0.25^2), D the cosine distance from the full coalition."""
    distance = 1 - np.sqrt(coalitions.mean(axis=1))
    return np.exp(-(distance**2) / 0.25**2)


def _shapley_weights(coalitions: Array) -> Array:
    """Return Shapley's kernel (Lundberg & Lee 2017, theorem 2)."""
    from scipy.special import comb

    players, sizes = coalitions.shape[1], coalitions.sum(axis=1)
    inner = (sizes > 0) & (sizes < players)
    weights = np.full(len(coalitions), _END_WEIGHT)
    weights[inner] = (players - 1) / (comb(players, sizes[inner]) * sizes[inner] * (players - sizes[inner]))
    return weights


PARTS = {
    "gradients": gradients, "noise": noise, "cams": cams, "occlusion": occlusion, "rise": rise,
    "superpixels": superpixels, "slow": slow,
}  # fmt: skip


def main() -> None:
    """Check that the logits agree, and write the maps of the named parts, or of all, beside those that are there."""
    folder, *named = sys.argv[1:]
    peer, file = Peer(Path(folder)), Path(folder) / "xplique.npz"
    difference = np.abs(np.asarray(peer.logits(peer.photos)) - peer.given["logits"]).max()
    print(f"largest difference of the logits: {difference:.2g} of up to {np.abs(peer.given['logits']).max():.3g}")
    for part in named or PARTS:
        PARTS[part](peer)
    if file.exists():
        with np.load(file) as before:
            peer.maps = {**before, **peer.maps}
    np.savez_compressed(file, **peer.maps)


if __name__ == "__main__":
    main()
