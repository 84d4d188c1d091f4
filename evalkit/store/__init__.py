"""The run folder: settings, results and maps."""
