"""The audit of a run: which of its metrics can be trusted on this model and these images."""
