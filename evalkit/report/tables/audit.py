"""The audit of a run in every format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from math import ceil, floor

import msgspec

from evalkit.analysis.audit.results import Audit, ControlBias, Effect, MetricAudit, Probes, Reliability
from evalkit.analysis.results import Results
from evalkit.analysis.shards import shard_lines
from evalkit.report.formats import OutputFormat
from evalkit.report.tables.csv import to_csv
from evalkit.report.tables.leaderboard import ARROWS, number, row_letters
from evalkit.report.tables.shortcut import shortcut_document, shortcut_lines
from evalkit.report.tables.table import Board, natural_width, render_boards
from evalkit.store.manifest import Manifest

__all__ = ["render_audit", "verdict_lines", "verdict_rows"]

SCHEMA_VERSION = 1
_REWARDED = "*"


def render_audit(
    manifest: Manifest, audit: Audit, form: OutputFormat, *, width: int, color: bool, results: Results | None = None
) -> str:
    """Return an audit in one of the formats.

    Args:
        manifest: the manifest of the run.
        audit: the audit, from ``audit_of``.
        form: table, json (``schema_version``, what was audited, the fields of ``Audit``, ``shortcut_sentences``), csv
            (one line for each metric), markdown or latex.
        width: width of the terminal in columns; for the table only.
        color: whether to use bold and dim text; for the table only.
        results: the analysis of the run, for what it says of known cues; None says nothing of them.
    """
    if form == "json":
        subject = {"signature": manifest.signature.run, "model": manifest.model.name, "data": manifest.data.name}
        if manifest.settings.shard:
            subject["shard"] = manifest.settings.shard
        shown = {"schema_version": SCHEMA_VERSION, **subject, **msgspec.to_builtins(audit)}
        shown["shortcut_sentences"] = None if results is None else shortcut_document(manifest, results)
        return json.dumps(shown, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    if form == "csv":
        return _csv(audit)
    boards = [Board(_VERDICTS, _HEADER, verdict_rows(audit), range(2, 5))]
    bias = _bias_board(audit)
    boards += [bias] if bias.rows else []
    boards += _probe_boards(audit.probes) if audit.probes and audit.probes.metrics else []
    boards += _matrices(audit, width if form == "table" else None)
    cues = [] if results is None else shortcut_lines(manifest, results)
    return render_boards(boards, [*_notes(manifest, audit), *cues], form, width=width, color=color)


_VERDICTS = "Which metrics can be trusted here?"
_HEADER = ("metric", "verdict", "split-half 95 %", "alpha 95 %", "images")


def verdict_rows(audit: Audit) -> list[list[str]]:
    """Return the cells of the table of verdicts: metric, verdict, split-half, alpha, images."""
    rows = []
    for one in audit.metrics:
        of = one.reliability
        rows.append(
            [
                f"{one.metric} {ARROWS.get(one.direction, '')}".rstrip(),
                one.verdict or "-",
                _with_interval(of.split_half, of.low, of.high),
                _with_interval(of.alpha, of.alpha_low, of.alpha_high),
                _images(of),
            ]
        )
    return rows


def _images(reliability: Reliability) -> str:
    if reliability.split_half is None:
        return "-"
    return "none" if reliability.images_for_agreement is None else f"{reliability.images_for_agreement:,}"


def verdict_lines(audit: Audit) -> list[str]:
    """Return one sentence for each metric: its verdict and the reason, and what the verdict does not rest on."""
    lines = []
    for one in audit.metrics:
        known = one.reliability
        alone = (
            f" Without {known.without} the split-half reliability is {number(known.split_half_without, 2)}."
            if _rests_on_one(one, audit.thresholds.reliable_from)
            else ""
        )
        missing = f" Not checked: {'; '.join(one.missing)}." if one.missing else ""
        verdict = f"{one.verdict} {one.reason}" if one.verdict == "blind" else f"{one.verdict}, {one.reason}"
        lines.append(f"{one.metric}: {verdict if one.verdict else one.reason}.{alone}{missing}")
    return lines


def _rests_on_one(metric: MetricAudit, limit: float) -> bool:
    """Tell whether the split-half reliability falls below the limit if one explainer is left out."""
    with_all, without = metric.reliability.split_half, metric.reliability.split_half_without
    return with_all is not None and without is not None and without < limit <= with_all


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    # Outwards, so that an end that is below a limit is not rounded up to it.
    return number(value, 2) + ("" if low is None or high is None else f" {_down(low)}..{_up(high)}")


def _down(value: float) -> str:
    return number(floor(100 * value) / 100, 2)


def _up(value: float) -> str:
    return number(ceil(100 * value) / 100, 2)


def _bias_board(audit: Audit) -> Board:
    rows = [
        [one.metric if first else "", control.control, *_bias_cells(control)]
        for one in audit.metrics
        for first, control in _first(one.bias.controls)
    ]
    header = ("metric", "control", "over chance", "95 %", "of lead")
    return Board("Controls: score over chance", header, rows, range(2, 5))


def _first(controls: Sequence[ControlBias]) -> list[tuple[bool, ControlBias]]:
    return [(index == 0, control) for index, control in enumerate(controls)]


def _bias_cells(control: ControlBias) -> list[str]:
    interval = "-" if control.low is None else f"{number(control.low)}..{number(control.high)}"
    share = "-" if control.lead_share is None else f"{number(100 * control.lead_share, 0)} %"
    return [number(control.over_chance), interval, share + (_REWARDED if control.rewarded else "")]


def _probe_boards(probes: Probes) -> list[Board]:
    sigmas = list(probes.metrics[0].blur)
    changes = [
        [one.metric, *(_effect(one.blur[sigma]) for sigma in sigmas), _effect(one.coarsen), _effect(one.sharpen)]
        for one in probes.metrics
    ]
    noise = [
        [
            one.metric,
            _effect(one.slope),
            "-" if one.monotone_share is None else f"{100 * one.monotone_share:.0f} %",
            *([] if one.truth is None else [number(one.truth.mean, 2)]),
        ]
        for one in probes.metrics
    ]
    known = () if probes.metrics[0].truth is None else ("truth",)
    return [
        Board(
            "Changed maps: change of the score, positive = better",
            ("metric", *(f"blur {sigma}" for sigma in sigmas), "coarse", "sharp"),
            changes,
            range(1, len(sigmas) + 3),
        ),
        Board("Maps with noise", ("metric", "noise", "falls", *known), noise, range(1, 3 + len(known))),
    ]


_SHOWN = "*"


def _effect(effect: Effect) -> str:
    """Return a change, marked if its interval does not include 0.

    >>> _effect(Effect(0.05, 0.01, 0.09, 24)), _effect(Effect(-0.2, -0.3, 0.1, 24))
    ('.050*', '-.200')
    """
    if effect.mean is None:
        return "-"
    shown = effect.ci_low is not None and effect.ci_high is not None and (effect.ci_low > 0 or effect.ci_high < 0)
    text = number(effect.mean)
    return (text.replace("0.", ".", 1) if abs(effect.mean) < 0.9995 else text) + (_SHOWN if shown else "")


def _matrices(audit: Audit, width: int | None) -> list[Board]:
    """Return the matrix of agreement, in as few tables as fit the width; None = one table."""
    metrics = list(dict.fromkeys(text for pair in audit.agreement for text in (pair.first, pair.second)))
    if not metrics:
        return []
    letters = dict(zip(metrics, row_letters(len(metrics)), strict=True))
    taus = {frozenset((pair.first, pair.second)): pair.tau for pair in audit.agreement}
    rows = [
        [
            f"{letters[row]} {row}",
            *("" if row == column else _short(taus[frozenset((row, column))]) for column in metrics),
        ]
        for row in metrics
    ]
    title = "Agreement of metrics: Kendall's tau-b of the explainers' ranks"

    def part(start: int, end: int) -> Board:
        name = title if start == 0 else f"{title}, continued"
        header = ("metric", *(letters[text] for text in metrics[start:end]))
        return Board(name, header, [[row[0], *row[1 + start : 1 + end]] for row in rows], range(1, 1 + end - start))

    for count in range(1, len(metrics) + 1):
        bounds = [round(index * len(metrics) / count) for index in range(count + 1)]
        boards = [part(start, end) for start, end in pairwise(bounds)]
        if width is None or all(natural_width(board) <= width for board in boards):
            break
    return boards


def _short(tau: float | None) -> str:
    """Return a tau without the zero before its point.

    >>> _short(0.25), _short(-0.5), _short(1.0), _short(None)
    ('.25', '-.50', '1.00', '-')
    """
    return number(tau, 2).replace("0.", ".", 1) if tau is not None and abs(tau) < 0.995 else number(tau, 2)


def _notes(manifest: Manifest, audit: Audit) -> list[str]:
    limits = audit.thresholds
    facts = (
        f"{manifest.model.name} on {manifest.data.name}: {_number_of(audit.n_images, 'image')}, "
        f"{_number_of(len(audit.explainers), 'explainer')}, {_number_of(len(audit.controls), 'control')}."
    )
    verdicts = (
        "Verdicts, the first that holds: blind = all explainers have the same score on at least "
        f"{100 * limits.blind_share:.0f} % of the images, or it is not shown to fall with noise; biased "
        f"({_REWARDED}) = the interval of a control's score over chance, or of what blur adds, lies above "
        f"{100 * limits.lead_share:.0f} % of the lead of the best explainer over chance "
        f"({100 * limits.photo_lead_share:.0f} % for the center, edges and controls of your own: objects may be "
        f"there), or pixel noise scores better than {100 * limits.noise_share:.0f} % of the explainers; noisy = the "
        f"lower end of the split-half reliability is below {limits.reliable_from:g}; reliable = it is not. A verdict "
        f"needs {limits.fewest_images} images and {limits.fewest_explainers} explainers; controls do not count among "
        "the explainers."
    )
    columns = (
        "split-half = correlation of the explainers' scores between this set and another of its size; images = number "
        f"of images whose halves would agree to {limits.agreed:g}; alpha = Krippendorff's ordinal alpha: images rank "
        f"the explainers. {audit.n_resamples:,} random halves, each resampled within itself."
    )
    probes = _probe_lines(audit)
    right = "A reliable metric is repeatable, which does not make it right: docs/metrics-on-trial.md."
    return [
        *shard_lines(manifest),
        facts,
        audit.advice,
        *verdict_lines(audit),
        *_agreement_lines(audit),
        *probes,
        verdicts,
        columns,
        right,
    ]


def _number_of(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _probe_lines(audit: Audit) -> list[str]:
    if audit.probes is None:
        return [f"Blind and biased as far as stored scores show; {audit.probes_reason}."] if audit.probes_reason else []
    probes = audit.probes
    changed = (
        f"Changed maps ({probes.n_images} images; {', '.join(probes.explainers)}): blur by sigma in px; coarse = 7 x 7 "
        "parts; sharp = unsharp mask; noise = from the maps to maps of shuffled pixels, by the slope over five doses; "
        "falls = images whose score never rises with the dose; truth = tau-b with the known order of the object's "
        f"exact mask at six doses of noise. {_SHOWN} = the 95 % interval does not include 0."
    )
    smooth = [
        f"{one.metric} by {number(effect.mean)} ({sigma} px)"
        for one in probes.metrics
        for sigma, effect in [max(one.blur.items(), key=lambda item: item[1].ci_low or 0.0)]
        if effect.ci_low is not None and effect.ci_low > 0
    ]
    wrong = [
        f"{one.metric} ({number(one.truth.mean, 2)})"
        for one in probes.metrics
        if one.truth is not None and one.truth.mean is not None and one.truth.mean < audit.thresholds.truth_from
    ]
    return [
        changed,
        *([f"Reward smoothing, which adds nothing to a map: {', '.join(smooth)}."] if smooth else []),
        *(
            [f"Do not find the known order of maps (truth below {audit.thresholds.truth_from:g}): {', '.join(wrong)}."]
            if wrong
            else []
        ),
    ]


def _agreement_lines(audit: Audit) -> list[str]:
    limit = f"mean tau at least {audit.thresholds.cluster_tau:g}"
    lines = []
    clusters = [", ".join(texts) for texts in audit.clusters if len(texts) > 1]
    if clusters:
        lines.append(f"Metrics that rank alike ({limit}): {'; '.join(clusters)}.")
    elif audit.clusters:
        lines.append(f"No two metrics rank alike ({limit}).")
    widths = [pair.high - pair.low for pair in audit.agreement if pair.low is not None and pair.high is not None]
    if widths:
        lines.append(f"The 95 % intervals of tau (in --format json) are at most {max(widths):.2f} wide.")
    if any(pair.tau is None for pair in audit.agreement):
        fewest = audit.thresholds.fewest_images
        lines.append(f"No tau (-): fewer than {fewest} images have scores of both metrics that do not all tie.")
    apart: dict[str, list[str]] = {}
    for text, reason in audit.not_compared.items():
        apart.setdefault(reason, []).append(text)
    lines += [
        f"Not in the table of agreement, because {reason}: {', '.join(texts)}." for reason, texts in apart.items()
    ]
    return lines


def _csv(audit: Audit) -> str:
    columns = ("metric", "direction", "verdict", "reason", "criterion", "equal_share")
    of = [name for name in Reliability.__struct_fields__ if not name.endswith("reason")]
    rows = [
        [*(getattr(one, name) for name in columns), *(getattr(one.reliability, name) for name in of)]
        for one in audit.metrics
    ]
    return to_csv([*columns, *of], rows)
