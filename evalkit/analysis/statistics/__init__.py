"""Confidence intervals and permutation tests."""
