"""Explainers: saliency maps from a classifier, images and targets. Nothing here imports TensorFlow itself."""
