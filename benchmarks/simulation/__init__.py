"""Simulations of error rates: populations of scores, scenarios, and the functions of evalkit that they test."""

import os

# Cells are simulated in processes of their own: more threads would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
