"""The questions that a run answers: best explainer, recommended parameters, comparison with the controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.analysis.choice.candidates import NAME, variant_text
from evalkit.analysis.results import LeaderboardCell, ParameterChoice, PatchSizeChoice, Results
from evalkit.report.tables.leaderboard import Column, columns_of, interval, is_best, number, too_few
from evalkit.report.tables.parameter_sweep import shown_sweeps
from evalkit.report.tables.patch_size import listed, swept_name, swept_settings, variant_columns
from evalkit.store.manifest import Manifest

__all__ = ["Answer", "answering", "answers", "short_of", "tied_with_best"]

_NAMED = 2  # explainers that a brief answer names; more are counted


@dataclass(frozen=True)
class Answer:
    """A question and its answer by the run.

    Attributes:
        topic: what the question is about, in one or two words.
        question: the question.
        main: the answer in a few words.
        brief: the answer with one interval or count, for one or two lines of a terminal.
        detail: what it rests on, in full.
    """

    topic: str
    question: str
    main: str
    brief: str
    detail: str


def answers(manifest: Manifest, results: Results) -> list[Answer]:
    """Return the questions that a run answers, with their answers.

    Args:
        manifest: the manifest of the run.
        results: the analysis of the run.
    """
    column = answering(manifest, results)
    best = _best_explainer(manifest, results, column) if column else None
    found = [best, _patch_size(manifest, results), *_parameters(manifest, results)]
    if column and best:
        found.append(_compared_with_controls(manifest, results, column))
    return [answer for answer in found if answer]


def answering(manifest: Manifest, results: Results) -> Column | None:
    """Return the metric of the answers: the criterion, or else the first that scored anything and has a better end."""
    scored = {cell.metric for cell in results.leaderboard if cell.mean is not None}
    columns = [
        column for column in columns_of(manifest, results) if column.metric in scored and not column.facts.descriptive
    ]
    criterion = [column for column in columns if column.metric == manifest.settings.criterion]
    return next(iter([*criterion, *columns]), None)


def tied_with_best(cells: Sequence[LeaderboardCell]) -> list[str]:
    """Return the ranked explainers that do not differ significantly from the best one.

    Args:
        cells: all cells of one metric.
    """
    losers = {text for cell in cells if is_best(cell) for text in cell.better_than}
    return [
        cell.explainer for cell in cells if cell.rank is not None and not is_best(cell) and cell.explainer not in losers
    ]


def _best_explainer(manifest: Manifest, results: Results, column: Column) -> Answer | None:
    cells = [cell for cell in results.leaderboard if cell.metric == column.metric]
    best = [cell for cell in cells if is_best(cell)]
    if not best:
        return None
    leaders = [cell.explainer for cell in best]
    others = [cell for cell in cells if cell.explainer not in leaders]
    scored = [cell for cell in others if cell.mean is not None]
    needed = too_few(results, column.metric)
    tied = [] if needed else tied_with_best(cells)
    n_scored, n_ranked = best[0].n_scored, best[0].rank_images
    by = "" if n_ranked in (None, n_scored) else f" over the {n_ranked} images that all ranked share"
    score = f"Best mean {column.metric}{by}, {number(best[0].mean)}{f' over its {n_scored}' if by else ''}."
    tied_text = f" Not significantly different on {_images(n_scored)}: {', '.join(tied)}." if tied else ""
    tied_text += f" Nothing is tested on fewer than {needed} images." if needed else ""
    beats_all = bool(scored) and all(cell.explainer in leader.better_than for cell in scored for leader in best)
    every = "every other" if len(scored) == len(others) else "every other that was scored"
    beats = f" Significantly better than {every}." if beats_all else ""
    explainers, controls = _by_kind(manifest)

    names, short_names = _names(leaders, explainers, controls)
    brief = f"{short_names}: {column.short} {interval(best[0])} on {_images(n_scored)}"
    if needed:
        brief += f"; not tested on fewer than {needed} images"
    elif tied:
        named = [f"{text} (control)" if text in controls else text for text in tied]
        which = ", ".join(named) if len(tied) <= _NAMED else f"{len(tied)} others"
        n_controls = len(set(tied) & set(controls))
        among = f", {n_controls} control{'s' if n_controls > 1 else ''} among them" if n_controls else ""
        among = among if len(tied) > _NAMED else ""
        brief += f"; not significantly different: {which}{among}"
    elif beats_all:
        brief += f"; significantly better than {every}"
    return Answer("explainer", "Which explainer?", names, brief, score + tied_text + beats)


def _names(leaders: Sequence[str], explainers: Sequence[str], controls: Sequence[str]) -> tuple[str, str]:
    """Return the explainers at the first rank, all of them and shortened, and the controls that share it with them."""
    best = [text for text in leaders if text in explainers]
    equal = [f"{text} (control)" for text in leaders if text in controls]
    if best and equal:
        return f"{listed(best)}, equal to {listed(equal)}", f"{_some(best)}, equal to {_some(equal)}"
    none = "None: no mean is better than that of " if equal and explainers else ""
    return none + listed(best or equal), none + _some(best or equal)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return listed(names if more <= 1 else [*names[:_NAMED], f"{more} others"])


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _patch_size(manifest: Manifest, results: Results) -> Answer | None:
    choice = results.best_patch_size
    if choice is None:
        if not results.best_patch_size_reason:
            return None
        noun = "setting" if variant_columns(results) else "patch size"
        return Answer("patch size", "", "", f"no {noun} is recommended: {results.best_patch_size_reason}", "")
    stride = "" if choice.stride == choice.patch_size else f", stride {choice.stride}"
    variant = "".join(f", {part}" for part in (choice.variant.get(NAME), variant_text(choice.variant)) if part)
    question = f"Which {swept_settings(results)} for {swept_name(manifest, results)}?"
    main = f"{choice.patch_size} pixels{stride}{variant}"
    return Answer("patch size", question, main + _undecided(choice), _choice(main, choice, manifest), choice.reason)


def _parameters(manifest: Manifest, results: Results) -> list[Answer]:
    found = []
    for shown in shown_sweeps(results):
        name = shown.sweep.explainer
        if shown.choice is not None:
            question = f"Which {shown.settings} for {name}?"
            main = shown.recommended
            brief = f"{name}: {_choice(main, shown.choice, manifest)}"
            found.append(Answer("parameters", question, main + _undecided(shown.choice), brief, shown.choice.reason))
        elif shown.sweep.reason:
            found.append(Answer("parameters", "", "", f"{name}: no setting is recommended: {shown.sweep.reason}", ""))
    return found


def _undecided(choice: PatchSizeChoice | ParameterChoice) -> str:
    return "" if choice.decided else " (undecided)"


def _choice(main: str, choice: PatchSizeChoice | ParameterChoice, manifest: Manifest) -> str:
    """Return a choice with the margin that it keeps, or with what would decide it."""
    criterion = short_of(manifest, choice.criterion)
    if choice.decided:
        return f"{main}: within {choice.margin:g} of the best {criterion}, on {_images(choice.n_images)}"
    if choice.n_wanted:
        return f"{main} so far; undecided, about {choice.n_wanted} images would decide"
    return f"{main} so far; undecided on {_images(choice.n_images)}"


def short_of(manifest: Manifest, metric: str) -> str:
    """Return the short title of a metric of the run; of another, its text."""
    return next((column.short for column in columns_of(manifest) if column.metric == metric), metric)


def _by_kind(manifest: Manifest) -> tuple[list[str], list[str]]:
    """Return the texts of the explainers without controls, and of the controls."""
    explainers = [explainer.text for explainer in manifest.explainers if not explainer.control]
    return explainers, [explainer.text for explainer in manifest.explainers if explainer.control]


def _compared_with_controls(manifest: Manifest, results: Results, column: Column) -> Answer | None:
    known = _by_kind(manifest)
    if not all(known):
        return None
    metric = column.metric
    cells = {cell.explainer: cell for cell in results.leaderboard if cell.metric == metric}
    explainers, controls = ([text for text in texts if cells[text].mean is not None] for texts in known)
    unscored = [text for texts in known for text in texts if cells[text].mean is None]
    question = "Do they beat the controls?"
    if not explainers or not controls:
        kind = "control" if explainers else "explainer"
        text = f"not known: {column.short} scored no {kind}"
        return Answer("controls", question, "not known", text, f"{metric} scored no {kind}.")
    if needed := too_few(results, metric):
        text = f"not tested on fewer than {needed} images"
        return Answer("controls", question, "not tested", text, f"Nothing is tested on fewer than {needed} images.")
    beating = [text for text in explainers if set(controls) <= set(cells[text].better_than)]
    others = [text for text in explainers if text not in beating]
    which = "Significantly better" if beating else "None is significantly better"
    detail = f"{which} than all of {', '.join(sorted(controls))}, by {metric}."
    detail += f" Not significantly better: {', '.join(others)}." if others and beating else ""
    detail += f" Not scored: {', '.join(unscored)}." if unscored else ""
    weak = {text: len(losers) for text, losers in results.not_beating_controls.items() if losers and text != metric}
    if weak:
        counts = ", ".join(f"{text} ({count})" for text, count in weak.items())
        detail += f" Number of explainers whose mean is not better than every control's: {counts}."
    noun = "explainer" if len(explainers) == 1 else "explainers"
    singular = 1 in (len(beating), len(explainers))
    brief = f"{len(beating)} of {len(explainers)} {noun} beat{'s' if singular else ''} every control by {column.short}"
    if beating and 0 < len(others) <= _NAMED:
        brief += f"; not: {', '.join(others)}"
    if unscored:
        brief += f"; not scored: {', '.join(unscored) if len(unscored) <= _NAMED else f'{len(unscored)} others'}"
    verb = "does" if singular else "do"
    return Answer("controls", question, f"{len(beating)} of {len(explainers)} {verb}", brief, detail)
