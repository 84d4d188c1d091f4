"""The work of ``run`` and ``score``: compute what is missing, print it, compare it with a baseline."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from evalkit.cli.console import color_wanted, print_result, quiet_native_stderr, stderr_console, terminal_width
from evalkit.cli.gating import gating_of
from evalkit.core.names import escaped
from evalkit.core.settings import merge
from evalkit.models.environment import require_keras
from evalkit.report.formats import OutputFormat

__all__ = ["compute_and_print"]

_NEXT_STEPS = """
With your own photos (one folder per class) and model:
  python -m evalkit run --model my_model.keras --preprocess vgg16 --data photos/"""


def compute_and_print(
    given: Mapping[str, object], form: OutputFormat, *, wide: bool, everything: bool, maps: Sequence[Path] = ()
) -> None:
    """Compute, print on stdout, and exit with the gate's code if there is a baseline.

    Args:
        given: the options that were given, by name.
        form: the output format.
        wide: print intervals even if the terminal is narrow.
        everything: print every table, not only the first screen.
        maps: folders of maps from files, listed before the explainers.
    """
    gating = gating_of(given)
    options = merge({"precision": gating.precision} if gating else {}, given)
    console = stderr_console()

    def say(text: str) -> None:
        console.print(text if text == _NEXT_STEPS else escaped(text), markup=False, highlight=False, soft_wrap=True)

    with quiet_native_stderr():
        require_keras()
        from evalkit.harness.planning.precision import default_run
        from evalkit.harness.planning.prepare import prepare
    from evalkit.api.evaluate import run_plan
    from evalkit.models.applications import MINI
    from evalkit.report import render
    from evalkit.report.rerun import more_commands

    plan = prepare(options, say, maps=maps)
    if gating:
        gating.require_comparable(plan.target_text, plan.geometry)
    plan, path = (plan, Path(options.output)) if options.output else default_run(plan, options)
    manifest, results = run_plan(plan, path, fresh=options.fresh, console=console, engine=options)
    gate = gating.gate_of(path) if gating else None
    shown = render(
        manifest,
        results,
        form,
        width=terminal_width(),
        wide=wide,
        color=color_wanted(),
        gate=gate,
        more=None if everything else more_commands(path),
    )
    print_result(shown)
    if form != "table" or everything:  # the first screen names it
        say(f"run folder: {path}")
    if gate:
        say(gate.summary)
        sys.exit(gate.exit_code)
    if (plan.images.kind, plan.classifier.name) == ("scenes", MINI) and not maps:
        say(_NEXT_STEPS)
