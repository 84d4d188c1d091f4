"""Plans a run, computes what is missing, stores the scores and shows progress."""
