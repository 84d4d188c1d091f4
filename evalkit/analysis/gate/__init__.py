"""The regression gate: what is comparable, verdicts, tolerances."""
