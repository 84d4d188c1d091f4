"""Executes a plan: jobs, executors, the worker, the driver and its commits."""
