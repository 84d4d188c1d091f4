"""Saliency maps as images: color scales, overlays, figures."""
