"""Choosing a parameter: the sweep table and the recommendation."""
