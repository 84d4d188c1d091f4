"""Explanations computed from the definitions alone: one map at a time, in float64, without a shortcut.

Nothing of evalkit is used here: what it computes is compared with this. Sources are beside each function.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import tensorflow as tf

from .networks import pixels

MEAN_COLOR = np.array([123.68, 116.779, 103.939])


def enlarged(coarse, size, *, mirrored=False):
    """Bilinear, pixel centers aligned: the value at each pixel's center, one after the other.

    Beyond the outermost centers of ``coarse`` edges are repeated, or mirrored about those centers.
    """
    result = np.zeros(size)
    for row, column in np.ndindex(*size):
        weights = []
        for position, length, coarse_length in zip((row, column), size, coarse.shape, strict=True):
            where = (position + 0.5) * coarse_length / length - 0.5
            if mirrored:
                where = (coarse_length - 1) - abs((coarse_length - 1) - abs(where))
            where = np.clip(where, 0, coarse_length - 1)
            low = min(int(where), coarse_length - 2) if coarse_length > 1 else 0
            weights.append((low, min(low + 1, coarse_length - 1), where - low))
        (top, bottom, down), (left, right, along) = weights
        upper = coarse[top, left] * (1 - along) + coarse[top, right] * along
        lower = coarse[bottom, left] * (1 - along) + coarse[bottom, right] * along
        result[row, column] = upper * (1 - down) + lower * down
    return result


# The CAM family.


def activations(network, image, layer):
    """Return A (h, w, K) and the tensors after the layer."""
    tensors = network.run((pixels(image),), until=layer)
    return tensors[0].numpy()[0], tensors


def activations_and_gradients(network, image, target, layer):
    """Return A and g = dz/dA, both (h, w, K); what by-passes the layer is held."""
    features, tensors = activations(network, image, layer)
    with tf.GradientTape() as tape:
        tape.watch(tensors[0])
        logit = network.logit(network.run(tensors, after=layer)[0], target)
    return features, tape.gradient(logit, tensors[0]).numpy()[0]


def gradcam(network, image, target, layer):
    """Selvaraju et al. 2017, equations 1 and 2."""
    features, gradients = activations_and_gradients(network, image, target, layer)
    return relu_of((features * gradients.mean(axis=(0, 1))).sum(axis=-1), image)


def relu_of(coarse, image):
    return enlarged(np.maximum(coarse, 0), image.shape[:2])


def hirescam(network, image, target, layer):
    """Draelos & Carin 2020, equation 4, with the ReLU of Grad-CAM."""
    features, gradients = activations_and_gradients(network, image, target, layer)
    return relu_of((features * gradients).sum(axis=-1), image)


def layercam(network, image, target, layer):
    """Jiang et al. 2021, equations 6 to 8."""
    features, gradients = activations_and_gradients(network, image, target, layer)
    return relu_of((np.maximum(gradients, 0) * features).sum(axis=-1), image)


def gradcam_plus_plus(network, image, target, layer):
    """Chattopadhyay et al. 2018, equation 19: powers of the gradient stand for the derivatives of exp(z)."""
    features, gradients = activations_and_gradients(network, image, target, layer)
    height, width, channels = features.shape
    weights = np.zeros(channels)
    for k in range(channels):
        total = features[..., k].sum()
        for i, j in itertools.product(range(height), range(width)):
            g = gradients[i, j, k]
            denominator = 2 * g**2 + total * g**3
            if g > 0 and denominator > 0:
                weights[k] += g**2 / denominator * g
    return relu_of((features * weights).sum(axis=-1), image)


def xgradcam(network, image, target, layer):
    """Fu et al. 2020, equation 8."""
    features, gradients = activations_and_gradients(network, image, target, layer)
    weights = np.zeros(features.shape[-1])
    for k in range(features.shape[-1]):
        total = features[..., k].sum()
        if total != 0:
            weights[k] = (gradients[..., k] * features[..., k]).sum() / total
    return relu_of((features * weights).sum(axis=-1), image)


def eigencam(network, image, target, layer):
    """Muhammad & Yeasin 2020: the activations on their first right singular vector, by NumPy's full SVD."""
    features, _ = activations(network, image, layer)
    matrix = features.reshape(-1, features.shape[-1])
    projected = matrix @ np.linalg.svd(matrix, full_matrices=True)[2][0]
    projected = projected if projected.sum() >= 0 else -projected
    return relu_of(projected.reshape(features.shape[:2]), image)


def scorecam_masks(network, image, layer):
    """Return H_k = s(Up(A_k)), enlarged and then scaled (Wang et al. 2020, equation 5), and the channels that vary."""
    features, _ = activations(network, image, layer)
    masks, kept = [], []
    for k in range(features.shape[-1]):
        large = enlarged(features[..., k], image.shape[:2])
        if large.max() > large.min():
            masks.append((large - large.min()) / (large.max() - large.min()))
            kept.append(k)
    return np.array(masks), kept


def scorecam(network, image, target, layer, mean=MEAN_COLOR):
    """Wang et al. 2020, algorithm 1: softmax over channels of the logits; the baseline's logit cancels in it."""
    features, _ = activations(network, image, layer)
    masks, kept = scorecam_masks(network, image, layer)
    logits = network.logits([blend(image, mean, mask) for mask in masks], target)
    weights = np.exp(logits - logits.max())
    return relu_of((features[..., kept] * (weights / weights.sum())).sum(axis=-1), image)


def ablation_weights(network, image, target, layer):
    """Desai & Ramaswamy 2020, equation 3: (z - z_k) / z, undivided where z is not positive.

    z_k comes from the whole network, in which everything before the layer runs again and channel k is set to 0.
    """
    clean = network.logits([image], target)[0]
    features, _ = activations(network, image, layer)
    weights = []
    for k in range(features.shape[-1]):
        tensors = network.run((pixels(image),), until=layer)
        without = tensors[0].numpy().copy()
        without[..., k] = 0
        outputs = network.run((tf.constant(without), *tensors[1:]), after=layer)[0]
        drop = clean - network.logit(outputs, target).numpy()[0]
        weights.append(drop / clean if clean > 0 else drop)
    return np.array(weights)


def ablationcam(network, image, target, layer):
    features, _ = activations(network, image, layer)
    return relu_of((features * ablation_weights(network, image, target, layer)).sum(axis=-1), image)


def fused(maps):
    """The maximum over layers of maps, each scaled by its own maximum."""
    return np.max([values / values.max() if values.max() > 0 else values for values in maps], axis=0)


# The gradient family: all in 0..255.


def input_gradient(network, image, target, relu=tf.nn.relu):
    """Return dz/dx, float64 (H, W, C)."""
    given = pixels(image)
    with tf.GradientTape() as tape:
        tape.watch(given)
        logit = network.logit(network.run((given,), relu=relu)[0], target)
    return tape.gradient(logit, given).numpy()[0]


def reduced(values, how):
    if how == "abs_max":
        return np.abs(values).max(axis=-1)
    return np.abs(values).sum(axis=-1) if how == "abs_sum" else values.sum(axis=-1)


def gradient(network, image, target, reduce="abs_max"):
    """Simonyan et al. 2014, section 3."""
    return reduced(input_gradient(network, image, target), reduce)


def gradient_x_input(network, image, target, reduce="sum", baseline=MEAN_COLOR):
    """Shrikumar et al. 2016; with a baseline, (x - x') * dz/dx."""
    return reduced((np.float64(image) - baseline) * input_gradient(network, image, target), reduce)


@tf.custom_gradient
def guided_relu(tensor):
    """Springenberg et al. 2015: a gradient passes where it and the ReLU's input are positive."""

    def backward(upstream):
        return tf.where((tensor > 0) & (upstream > 0), upstream, tf.zeros_like(upstream))

    return tf.nn.relu(tensor), backward


def guided_backprop(network, image, target, reduce="abs_max"):
    return reduced(input_gradient(network, image, target, guided_relu), reduce)


def mean_gradient(network, images, target):
    """SmoothGrad (Smilkov et al. 2017) of given noisy images: the mean of their gradients, float64 (H, W, C)."""
    return np.mean([input_gradient(network, image, target) for image in images], axis=0)


def path_images(image, baseline, alphas):
    """The images x' + alpha (x - x'), float64 (N, H, W, C)."""
    image, baseline = np.float64(image), np.broadcast_to(np.float64(baseline), image.shape)
    return np.array([baseline + alpha * (image - baseline) for alpha in alphas])


def integrated_gradients(network, image, target, baseline, alphas, weights):
    """Sundararajan et al. 2017, equation 1, for given nodes and weights of the integral over 0..1; (H, W, C)."""
    gradients = [input_gradient(network, step, target) for step in path_images(image, baseline, alphas)]
    return (np.float64(image) - baseline) * np.tensordot(weights, gradients, axes=1)


def expected_gradients(network, image, target, references, alphas):
    """Erion et al. 2021, equation 3, for given pairs of a reference and an alpha, (H, W, C)."""
    image = np.float64(image)
    terms = [
        (image - reference) * input_gradient(network, reference + alpha * (image - reference), target)
        for reference, alpha in zip(np.float64(references), alphas, strict=True)
    ]
    return np.mean(terms, axis=0)


# The mask family.


def blend(image, substrate, weight):
    return substrate + (np.float64(image) - substrate) * np.asarray(weight)[..., None]


def rise(network, image, target, masks, probability, mean=MEAN_COLOR):
    """Petsiuk et al. 2018, equation 6: sum of score x mask / (N p)."""
    scores = network.scores([blend(image, mean, mask) for mask in masks], target)
    return np.tensordot(scores, masks, axes=1) / (len(masks) * probability)


def rise_masks(size, grid):
    """Every mask of a ``grid`` x ``grid`` RISE: each pattern of cells under each shift.

    Section 3.2: a binary grid, enlarged bilinearly to (grid + 1) cells of ceil(side / grid) pixels, cropped at a shift
    of 0 to one cell less a pixel. The paper does not say what is beyond the edge; its code mirrors.
    """
    cells = [math.ceil(side / grid) for side in size]
    for pattern in itertools.product((0.0, 1.0), repeat=grid * grid):
        large = enlarged(np.reshape(pattern, (grid, grid)), [(grid + 1) * cell for cell in cells], mirrored=True)
        for down, along in itertools.product(*(range(cell) for cell in cells)):
            yield large[down : down + size[0], along : along + size[1]]


def lime(coalitions, scores, *, width=0.25, alpha=1.0):
    """Ribeiro et al. 2016, equation 2 and section 3.4: a ridge weighted by exp(-D^2 / width^2), D the cosine distance.

    Args:
        coalitions: 1 where a segment is kept, (N, M).
        scores: the model's score of each, (N,).
        width: the kernel's width.
        alpha: the penalty on the squared coefficients; the intercept has none.

    Returns:
        The coefficients, float64 (M,).
    """
    coalitions = np.float64(coalitions)
    total = np.zeros((coalitions.shape[1] + 1,) * 2)
    right = np.zeros(coalitions.shape[1] + 1)
    for kept, score in zip(coalitions, scores, strict=True):
        cosine = kept.sum() / (math.sqrt(kept.sum()) * math.sqrt(kept.size)) if kept.any() else 0.0
        weight = math.exp(-((1 - cosine) ** 2) / width**2)
        row = np.append(kept, 1.0)
        total += weight * np.outer(row, row)
        right += weight * score * row
    total[:-1, :-1] += alpha * np.eye(coalitions.shape[1])
    return np.linalg.solve(total, right)[:-1]


def shapley(value, players):
    """Shapley 1953: the mean gain of a player over all orders, from every coalition.

    Args:
        value: the value of a tuple of 0 and 1.
        players: their number.
    """
    values = {kept: value(kept) for kept in itertools.product((0, 1), repeat=players)}
    result = np.zeros(players)
    for player in range(players):
        for kept, without in values.items():
            if not kept[player]:
                size = sum(kept)
                share = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
                together = (*kept[:player], 1, *kept[player + 1 :])
                result[player] += share * (values[together] - without)
    return result


# Guided backprop of one_unit() once more, without any automatic differentiation.


def convolved(values, kernel):
    """A convolution with padding ``same``: (H, W, C) and (3, 3, C, K) to (H, W, K)."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    height, width = values.shape[:2]
    return sum(padded[i : i + height, j : j + width] @ kernel[i, j] for i, j in itertools.product(range(3), repeat=2))


def guided_backprop_by_hand(network, image, target):
    """dz/dx with guided ReLUs, (H, W, C): conv, ReLU, conv, ReLU, mean, dense; backwards, each line a derivative."""
    (k1, b1), (k2, b2), (w, _) = (layer.get_weights() for layer in network.model.layers if layer.weights)
    before_1 = convolved(np.float64(image) / 127.5 - 1, np.float64(k1)) + b1
    before_2 = convolved(np.maximum(before_1, 0), np.float64(k2)) + b2
    sign = 1 if target == 1 else -1
    height, width = before_2.shape[:2]
    upstream = np.broadcast_to(sign * np.float64(w[:, 0]) / (height * width), before_2.shape)
    upstream = np.where((before_2 > 0) & (upstream > 0), upstream, 0)
    upstream = convolved(upstream, turned(k2))
    upstream = np.where((before_1 > 0) & (upstream > 0), upstream, 0)
    return convolved(upstream, turned(k1)) / 127.5


def turned(kernel):
    """The kernel of the derivative of a convolution: turned by 180 degrees, channels exchanged."""
    return np.float64(kernel)[::-1, ::-1].transpose(0, 1, 3, 2)
