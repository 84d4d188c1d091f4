"""The executor that the options name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from evalkit.core.engine_options import EngineOptions
from evalkit.harness.engine.executor import Executor
from evalkit.harness.engine.local import LocalExecutor
from evalkit.harness.planning.plan import Plan

__all__ = ["executor_of", "prepare_ray"]

# Read by Ray when it is imported or started: no usage statistics over the network, workers as fast as this process,
# no advice on stdout, and a lost head is an error here instead of the end of this process.
_RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_worker_niceness": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "86400",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 - where `ray get-auth-token --generate` writes it, and `ray start` finds it

_ASK_S = 15.0


def executor_of(plan: Plan, options: EngineOptions, say: Callable[[str], None]) -> Executor:
    """Return the executor of a plan.

    Args:
        plan: the run.
        options: where it is computed.
        say: a function that prints a sentence on stderr.
    """
    if options.engine == "local":
        return LocalExecutor(plan.work)
    prepare_ray(options)
    from evalkit.harness.engine.ray_executor import RayExecutor

    return RayExecutor(plan.work, options, plan.threads, say)


def prepare_ray(options: EngineOptions) -> None:
    """Set what Ray reads from the environment when it is imported, where the user has not set it."""
    for name, value in _RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    if options.ray_address and _has_token() and not os.environ.get("RAY_AUTH_MODE"):
        os.environ["RAY_AUTH_MODE"] = "disabled" if _takes_anybody(options.ray_address) else "token"


def _has_token() -> bool:
    """Return whether there is a token of a cluster, which `ray start` then demands and a program must offer."""
    names = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    return any(os.environ.get(name) for name in names) or Path(_TOKEN_FILE).expanduser().is_file()


def _takes_anybody(address: str) -> bool:
    """Return whether a cluster answers without its token.

    A driver with a token refuses the workers of such a cluster, and all of them would die when they start. Ray reads
    the mode once in a process, so another process asks.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check"]
    if address != "auto":
        command += ["--address", address]
    try:
        asked = subprocess.run(  # noqa: S603 - no shell; the address is one argument
            command,
            env={**os.environ, "RAY_AUTH_MODE": "disabled"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ASK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:  # what is wrong is said when the cluster is joined
        return False
    return asked.returncode == 0
