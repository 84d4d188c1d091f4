"""Confidence intervals and paired tests of means."""
