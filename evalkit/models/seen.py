"""What a model puts out on the probe images, by which its head is found."""

from __future__ import annotations

from evalkit.models.blackbox import BlackBoxSource
from evalkit.models.find_head import Seen, probe_images
from evalkit.models.keras.source import KerasSource

__all__ = ["seen_of"]


def seen_of(source: KerasSource | BlackBoxSource) -> Seen:
    """Return what the model puts out on the probe images."""
    if isinstance(source, BlackBoxSource):
        return Seen(source.name, source.probes, is_half=source.is_half)
    probes = probe_images(source.input_size, source.channels)
    outputs, is_half = source.own_outputs(probes)
    logits = None
    end = source.end
    if end.before_the_end:
        return Seen(source.name, outputs, end=end.name, unit=source.unit_of_two(probes[:1]), is_half=is_half)
    if end.replaced:
        logits = source.own_logits(probes)
    bounded = bool(end.activation) or source.is_bounded(probes)
    return Seen(source.name, outputs, end.activation, end.name, logits, is_bounded=bounded, is_half=is_half)
