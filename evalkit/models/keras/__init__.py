"""A Keras model's graph, precision, fingerprint and feature maps."""
