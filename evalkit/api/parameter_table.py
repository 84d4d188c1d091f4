"""The sweep of an explainer's parameters as a table."""

from __future__ import annotations

from evalkit.analysis.results import ParameterRow, ParameterSweep, Results
from evalkit.api.result_table import ResultTable
from evalkit.report.tables.parameter_sweep import shown_sweep
from evalkit.report.tables.run_tables import shown_parameters
from evalkit.store.manifest import Manifest

__all__ = ["ParameterTable"]


class ParameterTable(ResultTable[ParameterRow]):
    """The variants of one explainer, in the order of the run: a row for each.

    Attributes:
        explainer: name of the explainer.
        parameters: names of the parameters in which any two rows differ.
        reason: why none is recommended; None if one is.
        not_compared: texts of the explainers that the criterion scored on no image.
    """

    def __init__(self, manifest: Manifest, results: Results, sweep: ParameterSweep) -> None:
        """See the class.

        Args:
            manifest: the manifest of the run.
            results: the analysis of the run.
            sweep: the sweep.
        """
        super().__init__(sweep.rows, ParameterRow, lambda: shown_parameters(manifest, shown_sweep(results, sweep)))
        self.explainer = sweep.explainer
        self.parameters = sweep.parameters
        self.reason = sweep.reason
        self.not_compared = sweep.not_compared

    @property
    def rows(self) -> tuple[ParameterRow, ...]:
        """The rows."""
        return self.records
