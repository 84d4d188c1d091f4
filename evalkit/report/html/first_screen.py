"""The first screen of the report as its template takes it: what was run, the answers, one leaderboard."""

from __future__ import annotations

from typing import Any

from evalkit.analysis.results import Results
from evalkit.report.html.boards import cell_texts, name_parts, span_of
from evalkit.report.tables.answers import Answer
from evalkit.report.tables.leaderboard import interval, number
from evalkit.report.tables.region_drops import region_warnings
from evalkit.report.tables.screen import BEST, TIED, Screen

__all__ = ["screen_texts"]

_UNDECIDED = " (undecided)"
_MARKS = {BEST: "best", TIED: "not significantly different from the best"}


def screen_texts(screen: Screen, results: Results) -> dict[str, Any]:
    """Return the texts of the first screen and the positions of its bars.

    Args:
        screen: the first screen, as the terminal shows it too.
        results: the analysis of the run.
    """
    spans = [span_of([row.cells[index] for row in screen.rows]) for index in range(len(screen.columns))]
    return {
        "about": screen.about,
        "answers": [_answer(answer) for answer in screen.answers],
        "columns": [
            {
                "parts": name_parts(column.short),
                "metric": column.metric,
                "arrow": column.arrow,
                "better": column.facts.direction,
                "is_better": "" if column.facts.descriptive else f"; {column.facts.direction} is better",
                "summary": column.facts.summary,
            }
            for column in screen.columns
        ],
        "rows": [
            {
                "explainer": row.explainer,
                "control": row.control,
                "mark": row.mark,
                "mark_title": _MARKS.get(row.mark, ""),
                "cells": [
                    {
                        **cell_texts(cell, span),
                        "mark": mark,
                        # The first column has room for numbers beside the bar.
                        "interval": "" if index else interval(cell).removeprefix(number(cell.mean)),
                    }
                    for index, (cell, span, mark) in enumerate(zip(row.cells, spans, row.cell_marks, strict=True))
                ],
                "seconds": "" if row.seconds_per_image is None else repr(row.seconds_per_image),
                "seconds_text": number(row.seconds_per_image, 2),
            }
            for row in screen.rows
        ],
        "legend": list(screen.legend),
        "notes": [*screen.notes, *region_warnings(results)],
    }


def _answer(answer: Answer) -> dict[str, str]:
    """Return the question, what it is answered with in a few words, and the rest of the brief answer."""
    main = answer.main.removesuffix(_UNDECIDED)
    if main and main in answer.brief:
        lead, rest = main, answer.brief.partition(main)[2]
    elif main:
        lead, semicolon, after = answer.brief.partition(";")
        rest = semicolon + after
    else:
        lead, rest = "", answer.brief
    return {
        "question": answer.question or f"{answer.topic[0].upper()}{answer.topic[1:]}",
        "lead": lead,
        "rest": rest,
        "main": answer.main,
        "detail": answer.detail,
    }
