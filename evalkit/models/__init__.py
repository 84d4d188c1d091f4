"""A Keras model made explainable: preprocessing inside, honest scores, activations and gradients.

Importing this package does not import TensorFlow; ``classifier``, ``graph`` and ``sources`` do.
"""
