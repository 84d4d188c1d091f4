"""Scenes: procedural images in which one object is the only evidence for the class."""
