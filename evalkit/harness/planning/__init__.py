"""Turns options into a plan: images, model, explainers, metrics, cache keys, the manifest."""
