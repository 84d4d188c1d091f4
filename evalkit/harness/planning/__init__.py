"""From options to a plan: images, model, explainers, metrics, cache keys, the manifest."""
