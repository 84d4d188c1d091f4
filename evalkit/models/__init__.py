"""Keras models as explainable classifiers: preprocessing inside, exact scores, activations and gradients.

Importing this package does not import TensorFlow; ``classifier``, ``keras``, ``inference`` and ``zoo.load`` do.
"""
