"""The run folder: what was asked, what was measured, and the maps."""
