"""Keras models: graph, passes, precision, fingerprint and feature maps."""
