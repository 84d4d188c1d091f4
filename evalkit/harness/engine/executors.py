"""The executor that the options name."""

from __future__ import annotations

import os
from collections.abc import Callable

from evalkit.core.engine_options import EngineOptions
from evalkit.harness.engine.executor import Executor
from evalkit.harness.engine.local import LocalExecutor
from evalkit.harness.planning.plan import Plan

__all__ = ["executor_of"]

# Read by Ray when it is imported or started: no usage statistics over the network, workers as fast as this process,
# no advice on stdout, and a lost head is an error here instead of the end of this process.
_RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_worker_niceness": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "86400",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def executor_of(plan: Plan, options: EngineOptions, say: Callable[[str], None]) -> Executor:
    """Return the executor of a plan.

    Args:
        plan: the run.
        options: where it is computed.
        say: a function that prints a sentence on stderr.
    """
    if options.engine == "local":
        return LocalExecutor(plan.work)
    for name, value in _RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    from evalkit.harness.engine.ray_executor import RayExecutor

    return RayExecutor(plan.work, options, plan.threads, say)
