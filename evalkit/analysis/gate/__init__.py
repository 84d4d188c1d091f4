"""The regression gate: comparison with a baseline, verdicts, tolerances."""
