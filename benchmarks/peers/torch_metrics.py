"""Scores of Quantus 0.6.0, captum 0.9.0 and grad-cam 1.5.7 for ``benchmarks/metric_parity.py``, which wrote the folder.

``python -m venv peers && peers/bin/pip install quantus captum grad-cam torch``, then
``peers/bin/python benchmarks/peers/torch_metrics.py FOLDER [PART ...]``. It needs neither evalkit nor Keras.

The model is built again in PyTorch with the same weights; photos are preprocessed as for VGG16 (BGR minus the mean
color), so that 0 is the mean color. Settings are the libraries' own unless a name says otherwise.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import quantus
import torch
from numpy.typing import NDArray
from quantus.functions.perturb_func import batch_baseline_replacement_by_indices
from torch import nn

Array = NDArray[Any]

MEAN_BGR = np.array([103.939, 116.779, 123.68], dtype=np.float32)
BLOCKS = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))  # number of the block, its convolutions


class Mini(nn.Module):
    """vgg16-mini, (N, 3, H, W) to logits or softmax."""

    def __init__(self, given: dict[str, Array], softmax: bool) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for block, convolutions in BLOCKS:
            for number in range(1, convolutions + 1):
                kernel = given[f"weights/block{block}_conv{number}/kernel"].transpose(3, 2, 0, 1)
                layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
                parts += [_filled(layer, kernel, given[f"weights/block{block}_conv{number}/bias"]), nn.ReLU()]
            parts.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*parts)
        dense: list[nn.Module] = []
        for name in ("fc1", "fc2", "predictions"):
            kernel = given[f"weights/{name}/kernel"].T
            dense += [_filled(nn.Linear(kernel.shape[1], kernel.shape[0]), kernel, given[f"weights/{name}/bias"])]
            dense += [nn.ReLU()] if name != "predictions" else []
        self.dense = nn.Sequential(*dense)
        self.softmax = softmax
        self.known: dict[bytes, torch.Tensor] | None = None  # outputs by the images' digest

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.known is None or torch.is_grad_enabled():
            return self._outputs(images)
        keys = [hashlib.sha256(image.numpy().tobytes()).digest() for image in images]
        new = {key: index for index, key in enumerate(keys) if key not in self.known}
        if new:
            self.known |= dict(zip(new, self._outputs(images[list(new.values())]), strict=True))
        return torch.stack([self.known[key] for key in keys])

    def _outputs(self, images: torch.Tensor) -> torch.Tensor:
        features = self.features(images).permute(0, 2, 3, 1).flatten(1)  # Keras flattens (h, w, channels)
        logits = self.dense(features)
        return logits.softmax(dim=1) if self.softmax else logits


def _filled(layer: Any, kernel: Array, bias: Array) -> nn.Module:  # noqa: ANN401 - two kinds of layers
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


class Peer:
    """The libraries on one model; ``scores`` holds what they gave, by name, (photos, maps)."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "inputs.npz") as given:
            self.given = dict(given)
        self.softmax, self.logits = Mini(self.given, True).eval(), Mini(self.given, False).eval()
        self.softmax.known = {}
        bgr = self.given["pixels"].astype(np.float32)[..., ::-1] - MEAN_BGR
        self.photos = np.ascontiguousarray(bgr.transpose(0, 3, 1, 2))  # (N, 3, H, W)
        self.targets, self.maps = self.given["targets"].astype(int), self.given["maps"].astype(np.float64)
        self.scores: dict[str, Array] = {}

    def each(self) -> Iterator[tuple[int, int]]:
        """Every (photo, map)."""
        return ((photo, number) for photo in range(len(self.photos)) for number in range(self.maps.shape[1]))

    def keep(self, name: str, score: Callable[[int, int], float]) -> None:
        """Keep a score of every map."""
        scores = np.full(self.maps.shape[:2], np.nan)
        for photo, number in self.each():
            scores[photo, number] = score(photo, number)
        self.scores[name] = scores
        print(name, scores.mean(axis=0), flush=True)

    def hidden(self, name: str, photo: int) -> Array:
        """Evalkit's masks of a photo at the photo's size, bool (masks, H, W)."""
        cells = self.given[f"{name} masks"][photo]
        height, width = self.maps.shape[2:]
        rows, columns = (np.arange(side) * cells.shape[1] // side for side in (height, width))
        return np.asarray(cells[:, rows][:, :, columns])

    def call(self, metric: Any, photo: int, number: int, **options: Any) -> Any:  # noqa: ANN401
        """Run a metric of Quantus on one map, quietly."""
        with contextlib.redirect_stdout(io.StringIO()):
            return metric(
                model=self.softmax,
                x_batch=self.photos[photo : photo + 1],
                y_batch=self.targets[photo : photo + 1],
                a_batch=self.maps[photo : photo + 1, number : number + 1],
                softmax=False,  # the model ends in it already
                channel_first=True,
                batch_size=1,
                **options,
            )


def _quietly(metric: type, **options: Any) -> Any:  # noqa: ANN401
    return metric(disable_warnings=True, return_aggregate=False, **options)


def _of_channels(pixels: Array) -> Array:
    """Indices of pixels (H, W) in all three channels of a flattened photo."""
    flat = np.flatnonzero(pixels)
    return np.concatenate([flat + channel * pixels.size for channel in range(3)])


def correlation(peer: Peer) -> None:
    """Quantus' faithfulness correlation: as shipped, and with evalkit's masks, color and rank correlation."""
    np.random.seed(0)  # noqa: NPY002 - Quantus draws from it
    shipped = _quietly(quantus.FaithfulnessCorrelation)
    peer.keep("FaithfulnessCorrelation shipped", lambda photo, number: peer.call(shipped, photo, number)[0])
    matched = _quietly(
        quantus.FaithfulnessCorrelation,
        similarity_func=quantus.similarity_func.correlation_spearman,
        nr_runs=200,
        normalise=False,
        perturb_func=batch_baseline_replacement_by_indices,
        perturb_baseline=0.0,
    )

    def score(photo: int, number: int) -> float:
        masks = iter(peer.hidden("mu_fidelity", photo))
        with mock.patch("numpy.random.choice", side_effect=lambda *_, **__: _of_channels(next(masks))):
            return float(peer.call(matched, photo, number)[0])

    peer.keep("FaithfulnessCorrelation masks", score)


def infidelity(peer: Peer) -> None:
    """Run captum's infidelity with evalkit's masks, without and with the factor."""
    from captum.metrics import infidelity as of_captum

    def masked(photo: int, number: int, normalize: bool, of_pixels: bool = False) -> float:
        masks = torch.from_numpy(peer.hidden("infidelity", photo).astype(np.float32))[:, None]
        done = 0

        def hide(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            nonlocal done
            block = masks[done : done + len(images)]
            done += len(images)
            return (images * block if of_pixels else (block / 3).expand_as(images)), images * (1 - block)

        found = of_captum(
            peer.softmax,
            hide,
            torch.from_numpy(peer.photos[photo : photo + 1]),
            torch.from_numpy(peer.maps[photo, number].astype(np.float32)).expand(1, 3, -1, -1),
            target=int(peer.targets[photo]),
            n_perturb_samples=len(masks),
            max_examples_per_batch=32,
            normalize=normalize,
        )
        return float(found[0])

    peer.keep("captum infidelity, masks", lambda photo, number: masked(photo, number, False))
    peer.keep("captum infidelity, masks, factor", lambda photo, number: masked(photo, number, True))
    peer.keep("captum infidelity, changes of pixels, factor", lambda photo, number: masked(photo, number, True, True))


def quantus_infidelity(peer: Peer) -> None:
    """Quantus' infidelity with blocks of 56 px, because its own 4 px are 31,360 passes a map; one sample."""
    shipped = _quietly(quantus.Infidelity, perturb_patch_sizes=[56], n_perturb_samples=1)
    hidden: list[float] = []
    predict = quantus.PyTorchModel.predict

    def watched(model: Any, x: Array, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        hidden.append(float((np.asarray(x) == x.min()).mean()))
        return predict(model, x, *arguments, **options)

    with mock.patch.object(quantus.PyTorchModel, "predict", watched):
        peer.call(shipped, 0, 0)
    print("Infidelity: share of the values that are black at each step:", np.round(hidden, 2))
    peer.keep("Infidelity, blocks of 56", lambda photo, number: peer.call(shipped, photo, number)[0])


def sensitivity(peer: Peer) -> None:
    """Quantus' sensitivity-n in steps of 7,168 values: which scores it gives, and over what it correlates."""
    step = 7168  # a seventh of the pixels, which it must divide
    for photos in (1, len(peer.photos)):
        metric = _quietly(quantus.SensitivityN, features_in_step=step)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                found = metric(
                    model=peer.softmax,
                    x_batch=peer.photos[:photos],
                    y_batch=peer.targets[:photos],
                    a_batch=peer.maps[:photos, :1],
                    softmax=False,
                    channel_first=True,
                )
        except ValueError as error:  # a correlation over one photo
            print(f"SensitivityN of {photos} photo:", error)
        else:
            print(f"SensitivityN of {photos} photos:", np.round(np.asarray(found, dtype=float), 3))
    peer.scores["SensitivityN"] = np.asarray(found, dtype=float)


def road(peer: Peer) -> None:
    """Run grad-cam's ROAD on two photos: as shipped, with evalkit's noise; and Quantus' ROAD on one."""
    from pytorch_grad_cam.metrics import road as of_gradcam

    solve, known = of_gradcam.spsolve, {}

    def remembered(left: Any, right: Array) -> Array:  # noqa: ANN401 - a sparse matrix
        key = hashlib.sha256(left.indices.tobytes() + right.tobytes()).digest()
        if key not in known:
            known[key] = solve(left, right)
        return np.asarray(known[key])

    for name, noise in (("grad-cam ROAD shipped", 0.01), ("grad-cam ROAD, noise of 2.55", 2.55)):
        torch.manual_seed(0)
        imputer = functools.partial(of_gradcam.NoisyLinearImputer, noise=noise)
        found = np.full((2, peer.maps.shape[1]), np.nan)
        with (
            mock.patch.object(of_gradcam, "spsolve", remembered),
            mock.patch.object(of_gradcam, "NoisyLinearImputer", _with_statics(imputer, of_gradcam.NoisyLinearImputer)),
        ):
            for photo, number in ((photo, number) for photo, number in peer.each() if photo < len(found)):
                target = int(peer.targets[photo])
                found[photo, number] = of_gradcam.ROADCombined()(
                    torch.from_numpy(peer.photos[photo : photo + 1]),
                    peer.maps[photo, number][None].astype(np.float32),
                    [lambda scores, target=target: scores[target]],
                    peer.softmax,
                )[0]
                print(name, photo, number, found[photo, number], flush=True)
        peer.scores[name] = found
    with contextlib.redirect_stdout(io.StringIO()):
        metric = quantus.ROAD(disable_warnings=True, percentages=[10, 50, 90])
    try:
        print("Quantus ROAD:", peer.call(metric, 0, 0))
    except Exception as error:
        print("Quantus ROAD:", type(error).__name__, str(error)[:200])


def _with_statics(make: Callable[[], Any], original: Any) -> Any:  # noqa: ANN401
    """Return a stand-in for a class whose static method it calls by its own name."""

    def stand_in() -> Any:  # noqa: ANN401
        return make()

    stand_in.setup_sparse_system = original.setup_sparse_system
    stand_in.add_offset_to_indices = original.add_offset_to_indices
    return stand_in


def mprt(peer: Peer) -> None:
    """Run Quantus' MPRT and eMPRT on evalkit's maps of changed models, and MPRT as shipped on gradient x input."""
    stages = peer.given["mprt(draws_per_map=1, stages=4) maps"]  # (photos, maps, stages, H, W)
    shape = (len(stages), 2)
    names = [f"stage {number}" for number in range(stages.shape[2])]

    def generator(model: Any, **_: Any) -> Any:  # noqa: ANN401
        return ((name, model.model) for name in names)

    average, emprt = np.full(shape, np.nan), np.full(shape, np.nan)
    with (
        mock.patch.object(quantus.PyTorchModel, "get_random_layer_generator", generator),
        mock.patch.object(quantus.PyTorchModel, "random_layer_generator_length", len(names)),
    ):
        for photo, number in ((photo, number) for photo in range(shape[0]) for number in range(shape[1])):
            own = peer.maps[photo, number]
            metric = quantus.MPRT(
                similarity_func=quantus.similarity_func.correlation_spearman,
                abs=False,
                normalise=False,
                return_average_correlation=True,
                disable_warnings=True,
            )
            try:  # Quantus stops at a map that is zero everywhere
                given = _in_turn([own, *stages[photo, number]])
                average[photo, number] = peer.call(metric, photo, number, explain_func=given)[0]
                metric = quantus.EfficientMPRT(disable_warnings=True)
                given = _in_turn([own, stages[photo, number][-1]])
                emprt[photo, number] = peer.call(metric, photo, number, explain_func=given)[0]
            except AssertionError as error:
                print("MPRT:", str(error)[:70])
    peer.scores["MPRT, same maps"] = average
    peer.scores["MPRT, same maps, original left out"] = (average * (len(names) + 1) - 1) / len(names)
    peer.scores["EfficientMPRT, same maps"] = emprt
    print("MPRT, same maps", average, "EfficientMPRT", emprt, flush=True)

    def explained(model: nn.Module, inputs: Array, targets: Array, **_: Any) -> Array:  # noqa: ANN401
        images = torch.tensor(inputs, dtype=torch.float32, requires_grad=True)
        model.softmax = False
        logits = model(images)[torch.arange(len(images)), torch.tensor(targets)]
        (gradients,) = torch.autograd.grad(logits.sum(), images)
        return np.asarray((gradients * images).sum(dim=1, keepdim=True).detach())

    with contextlib.redirect_stdout(io.StringIO()):
        metric = quantus.MPRT(disable_warnings=True)
        found = metric(
            model=Mini(peer.given, False).eval(),
            x_batch=peer.photos,
            y_batch=peer.targets,
            a_batch=None,
            explain_func=explained,
            channel_first=True,
        )
    print("MPRT shipped, mean over photos:", {name: round(float(np.mean(each)), 3) for name, each in found.items()})


def _in_turn(maps: list[Array]) -> Callable[..., Array]:
    """Return a stand-in for an explainer that gives these maps one after the other."""
    remaining = iter(maps)
    return lambda *_, **__: next(remaining)[None, None].astype(np.float64)


def localization(peer: Peer) -> None:
    """Run Quantus' Focus on an oblong map whose evidence is in one known cell."""
    for cell in range(4):
        answer = np.zeros((1, 1, 60, 100))
        answer[0, 0, (cell // 2) * 30 :, (cell % 2) * 50 :][:30, :50] = 1.0
        wanted = tuple(int(number == cell) for number in range(4))
        metric = _quietly(quantus.Focus, normalise=False)
        with contextlib.redirect_stdout(io.StringIO()):
            found = metric(
                model=peer.softmax,
                x_batch=np.zeros((1, 3, 60, 100), dtype=np.float32),
                y_batch=np.zeros(1, dtype=int),
                a_batch=answer,
                custom_batch=[wanted],
                channel_first=True,
            )
        print(f"Focus, all evidence in cell {cell} (row by row): {found}")


PARTS: dict[str, Callable[[Peer], None]] = {
    "correlation": correlation,
    "infidelity": infidelity,
    "quantus_infidelity": quantus_infidelity,
    "sensitivity": sensitivity,
    "road": road,
    "mprt": mprt,
    "localization": localization,
}


def main() -> None:
    """Check that the logits agree, and write the scores of the named parts, or of all, beside those that are there."""
    folder, *named = sys.argv[1:]
    torch.set_num_threads(1)
    peer, file = Peer(Path(folder)), Path(folder) / "peer_torch.npz"
    with torch.no_grad():
        difference = np.abs(peer.logits(torch.from_numpy(peer.photos)).numpy() - peer.given["logits"]).max()
    print(f"largest difference of the logits: {difference:.2g} of up to {np.abs(peer.given['logits']).max():.3g}")
    for part in named or PARTS:
        PARTS[part](peer)
        before = dict(np.load(file)) if file.exists() else {}
        np.savez_compressed(file, **{**before, **peer.scores})


if __name__ == "__main__":
    main()
