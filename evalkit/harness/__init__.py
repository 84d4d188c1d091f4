"""From a question to stored scores: plan what is missing, compute it, show progress."""
