"""From a plan to stored scores: jobs, executors, the worker, the driver and what it commits."""
