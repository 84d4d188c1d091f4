"""The rows of the table of ``benchmarks/parity.py``: which map is compared with which, and why they differ."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ROWS", "Row"]


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        spec: evalkit's explainer.
        peer: the peer's map, as its script names it.
        title: library and class.
        settings: ``shipped``, or what is matched.
        why: the reason for the difference.
        reduce: what is done to the peer's channels, if it gives them: ``abs_max`` or ``sum``.
        photos: the number of photos, if not all.
    """

    spec: str
    peer: str
    title: str
    settings: str
    why: str = ""
    reduce: str = ""
    photos: int | None = None


_SMOOTHGRAD, _RISE = "smoothgrad(samples=10)", "rise(masks=200, tolerance=0)"
_LIME, _SHAP = "lime(samples=500, segments=8)", "kernel_shap(samples=2000, segments=8)"

ROWS: tuple[Row, ...] = (
    Row("gradient", "Saliency shipped", "xplique Saliency", "shipped"),
    Row(
        "gradient",
        "Saliency of the softmax",
        "xplique Saliency",
        "shipped, on the softmax",
        why="the gradient of the softmax mixes in those of all classes",
    ),
    Row("gradient_x_input", "GradientInput shipped", "xplique GradientInput", "shipped"),
    Row(
        "guided_backprop",
        "GuidedBackprop shipped",
        "xplique GuidedBackprop",
        "shipped",
        why="channels: their signed mean, not the largest absolute value",
    ),
    Row("guided_backprop", "GuidedBackprop unreduced", "xplique GuidedBackprop", "same reduction", reduce="abs_max"),
    Row(
        "smoothgrad",
        "SmoothGrad shipped",
        "xplique SmoothGrad",
        "shipped",
        why="noise of 0.2 in the model's space (0.2 of 255 here), not 25; the signed mean of channels",
    ),
    Row(_SMOOTHGRAD, "SmoothGrad noise", "xplique SmoothGrad", "same noise and reduction", reduce="abs_max"),
    Row(
        "integrated_gradients",
        "IntegratedGradients shipped",
        "xplique IntegratedGradients",
        "shipped",
        why="rounding of float32: at up to 10 of 50,176 pixels a ReLU or a maximum on the path switches",
    ),
    Row(
        "gradcam",
        "GradCAM shipped",
        "xplique GradCAM",
        "shipped",
        why="bicubic, which overshoots, not bilinear",
    ),
    Row("gradcam", "GradCAM bilinear", "xplique GradCAM", "bilinear"),
    Row(
        "gradcam_plus_plus",
        "GradCAMPP shipped",
        "xplique GradCAMPP",
        "shipped",
        why="bicubic; the mean of A in the denominator, where equation 19 has its sum",
    ),
    Row(
        "gradcam_plus_plus",
        "GradCAMPP bilinear",
        "xplique GradCAMPP",
        "bilinear",
        why="the mean of A in the denominator, where equation 19 has its sum",
    ),
    Row("gradcam_plus_plus", "GradCAMPP sum", "xplique GradCAMPP", "bilinear, sum of the features"),
    Row(
        "occlusion(patch_size=40)",
        "Occlusion shipped",
        "xplique Occlusion",
        "shipped",
        photos=2,
        why="patches of 3 px, not 40; the mean color, not black",
    ),
    Row("occlusion(patch_size=32, fill=mean)", "Occlusion patches", "xplique Occlusion", "same patches and fill"),
    Row(
        "rise",
        "Rise shipped",
        "xplique Rise",
        "shipped",
        photos=2,
        why="other masks (one shift for each 32, edges not mirrored), and as in the next row",
    ),
    Row(
        _RISE,
        "Rise masks",
        "xplique Rise",
        "same masks",
        why="divided by the sum of each pixel's masks, not N p",
    ),
    Row(_RISE, "Rise masks, N p", "xplique Rise", "same masks, over N p"),
    Row(
        "lime",
        "Lime shipped",
        "xplique Lime",
        "shipped",
        photos=2,
        why="quickshift in the model's space: over 10,000 segments, 150 samples; distances of pixels: all weights 0",
    ),
    Row(_LIME, "Lime coalitions", "xplique Lime", "same segments, coalitions, kernel, penalty"),
    Row(
        "kernel_shap",
        "KernelShap shipped",
        "xplique KernelShap",
        "shipped",
        photos=1,
        why="segments as there, 800 samples; no constraint on the sum",
    ),
    Row(_SHAP, "KernelShap coalitions", "xplique KernelShap", "same segments, all coalitions, Shapley's kernel"),
    Row("gradcam", "grad-cam GradCAM", "grad-cam GradCAM", "shipped"),
    Row("hirescam", "grad-cam HiResCAM", "grad-cam HiResCAM", "shipped"),
    Row("layercam", "grad-cam LayerCAM", "grad-cam and torch-cam LayerCAM", "shipped"),
    Row(
        "gradcam_plus_plus",
        "grad-cam GradCAMPlusPlus",
        "grad-cam GradCAMPlusPlus",
        "shipped",
        why="eps of 1e-6 in the denominator, which is not small beside g^2",
    ),
    Row("gradcam_plus_plus", "grad-cam GradCAMPlusPlus, eps 0", "grad-cam GradCAMPlusPlus", "eps = 0"),
    Row(
        "gradcam_plus_plus",
        "torch-cam GradCAMpp",
        "torch-cam GradCAMpp",
        "shipped",
        why="its division changes a copy (`alpha[idx][mask].div_`), so alpha = g^2",
    ),
    Row(
        "gradcam_plus_plus",
        "torch-cam GradCAMpp, divided",
        "torch-cam GradCAMpp",
        "with its division",
        why="sum(A g^3), where equation 19 has sum(A) g^3: denominators near 0 and below",
    ),
    Row("xgradcam", "grad-cam XGradCAM", "grad-cam XGradCAM", "shipped"),
    Row("xgradcam", "torch-cam XGradCAM", "torch-cam XGradCAM", "shipped"),
    Row(
        "eigencam",
        "grad-cam EigenCAM",
        "grad-cam EigenCAM",
        "shipped",
        why="features are centered, and the sign is the SVD's",
    ),
    Row("eigencam", "grad-cam EigenCAM, uncentered", "grad-cam EigenCAM", "uncentered, sum positive"),
    Row(
        "scorecam",
        "grad-cam ScoreCAM",
        "grad-cam ScoreCAM",
        "shipped",
        why="channels are enlarged with corners aligned, maps with centers aligned",
    ),
    Row(
        "scorecam",
        "torch-cam ScoreCAM",
        "torch-cam ScoreCAM",
        "shipped",
        why="channels scaled, then enlarged; equation 5 enlarges first",
    ),
    Row("scorecam", "grad-cam ScoreCAM, centers aligned", "grad-cam ScoreCAM", "centers aligned"),
    Row("ablationcam", "grad-cam AblationCAM", "grad-cam AblationCAM", "shipped"),
)
