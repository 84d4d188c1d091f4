"""The citation of a run: a paragraph for a methods section, and BibTeX."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from evalkit.analysis.facts import metric_facts_of, origin_of
from evalkit.analysis.results import Results
from evalkit.analysis.shards import require_whole
from evalkit.core.errors import ConfigError
from evalkit.core.signature import without_digest
from evalkit.core.specs import Literals
from evalkit.report.formats import OutputFormat
from evalkit.report.tables.latex import escape
from evalkit.report.tables.leaderboard import unscored_lines
from evalkit.report.tables.text_lines import wrapped
from evalkit.store.manifest import ExplainerFacts, Manifest, MetricFacts

__all__ = ["bibtex", "methods", "render_citation"]

_TARGETS = {"label": "that of the label", "predicted": "the one that the model predicts"}


def render_citation(manifest: Manifest, results: Results, form: OutputFormat, *, width: int) -> str:
    """Return the methods paragraph and the BibTeX entry of a run.

    Args:
        manifest: manifest of the run.
        results: analysis of the run.
        form: table, markdown (plain text), latex (the paragraph escaped) or json (``methods`` and ``bibtex``).
        width: width of plain text in columns.

    Raises:
        ConfigError: the format is csv, or the run is a shard.
    """
    require_whole(manifest, "a citation")
    paragraph, entry = methods(manifest, results), bibtex(manifest)
    if form == "csv":
        raise ConfigError("--cite is text, which --format csv cannot hold; allowed: table, markdown, latex, json")
    if form == "json":
        return json.dumps({"methods": paragraph, "bibtex": entry}, indent=2, ensure_ascii=False) + "\n"
    if form == "latex":
        text = escape(paragraph).replace("|", r"\textbar{}")  # a dash in TeX's own font encoding
        return f"{text}\n\n{entry}\n"
    return "\n".join([*wrapped(paragraph, width), "", entry, ""])


def methods(manifest: Manifest, results: Results) -> str:
    """Return one paragraph with what a reader needs to know, and to repeat the run."""
    return " ".join(
        [
            _software(manifest),
            _model(manifest),
            *_data(manifest, results),
            *_explainers(manifest),
            _metrics(manifest),
            *_statistics(manifest, results),
            *_choice(results),
            *_unscored(results),
            f"Signature: {manifest.signature.run}.",
        ]
    )


def bibtex(manifest: Manifest) -> str:
    """Return the BibTeX entry of the version of evalkit that computed the run."""
    return (
        "@software{evalkit,\n"
        "  author = {{The evalkit authors}},\n"
        "  title = {evalkit: How good is a visual explanation?},\n"
        f"  version = {{{manifest.versions.get('evalkit', 'unknown')}}},\n"
        f"  year = {{{manifest.created[:4]}}},\n"
        "  license = {Apache-2.0},\n"
        "}"
    )


def _software(manifest: Manifest) -> str:
    versions = manifest.versions
    names = {"tensorflow": "TensorFlow", "keras": "Keras"}
    shown = [f"{names.get(name, name)} {number}" for name, number in versions.items() if name != "evalkit"]
    libraries = f" ({', '.join(shown)})" if shown else ""
    own = [one for one in manifest.explainers if not one.control]
    files = bool(own) and all(origin_of(one) == "precomputed" for one in own)
    return (
        f"Saliency maps were {'scored' if files else 'computed and scored'} with evalkit "
        f"{versions.get('evalkit', '(version unknown)')}{libraries}, whose documentation defines every explainer and "
        "metric."
    )


def _model(manifest: Manifest) -> str:
    model = manifest.model
    height, width = model.input_size
    facts = [
        f"input {height} x {width} x {model.channels}",
        f"{model.n_classes} classes",
        f"head: {model.head}",
        f"preprocessing: {model.preprocess}",
        f"precision: {model.precision}",
        *([f"layer of CAM methods: {model.target_layer}"] if model.target_layer else []),
        *(f"{name}: {value}" for name, value in model.given.items()),
        f"fingerprint {model.fingerprint}",
    ]
    return f"The model was {model.name} ({'; '.join(facts)})."


def _data(manifest: Manifest, results: Results) -> list[str]:
    data, model, settings = manifest.data, manifest.model, manifest.settings
    counted = _counted(data.n_images, "image")
    if results.n_images != data.n_images:
        photos = _counted(results.n_images, "photo")
        counted = f"{_counted(data.n_images, 'entry')} of {photos}, each photo counted once by their mean,"
    selection = {**({} if settings.limit is None else {"limit": str(settings.limit)}), **settings.chosen}
    facts = [
        f"{data.n_regions} with a region",
        *([f"{data.n_unreadable} not usable"] if data.n_unreadable else []),
        *([f"selection: {_listed(selection)}"] if selection else []),
        *([f"class order: {data.class_order}"] if data.class_order else []),
        f"fitted to the input by {settings.geometry}",
        *([f"sha256 over all images {data.fingerprint}"] if data.fingerprint else []),
    ]
    sentences = [f"The data: {counted} of {data.name} ({'; '.join(facts)})."]
    sentences += [f"{note.rstrip('.')}." for note in data.notes]
    if model.accuracy is not None:
        clean = ""
        if model.median_clean_score is not None and model.saturated_share is not None:
            clean = (
                f"; over all images, its score of the target had a median of {model.median_clean_score:.3f} and "
                f"exceeded 0.999 on {100 * model.saturated_share:.0f} %"
            )
        right = f"{_counted(model.n_right or 0, 'image')} ({100 * model.accuracy:.1f} %)"
        sentences.append(f"The model was right on {right}{clean}.")
    return [*sentences, f"The class explained was {_TARGETS[without_digest(settings.target)]}."]


def _explainers(manifest: Manifest) -> list[str]:
    lines = manifest.signature.explainers
    own = [_explainer(one, lines.get(one.text, "")) for one in manifest.explainers if not one.control]
    controls = [_explainer(one, lines.get(one.text, "")) for one in manifest.explainers if one.control]
    return [
        *([f"Explainers: {'; '.join(own)}."] if own else []),
        *([f"Controls, which do not depend on the model: {'; '.join(controls)}."] if controls else []),
    ]


def _explainer(facts: ExplainerFacts, line: str) -> str:
    if origin_of(facts) == "precomputed":
        return f"{facts.text} (maps from files)"
    return facts.name + _definition(line, facts.parameters)


def _metrics(manifest: Manifest) -> str:
    lines = manifest.signature.metrics
    return f"Metrics: {'; '.join(_metric(one, lines.get(one.text, '')) for one in metric_facts_of(manifest))}."


def _metric(facts: MetricFacts, line: str) -> str:
    better = "" if facts.descriptive else f"; {facts.direction} is better"
    return facts.name + _definition(line, facts.parameters, better)


def _definition(line: str, parameters: Mapping[str, Literals], more: str = "") -> str:
    """Return the version, which the signature line has, and the parameters, in parentheses."""
    version = re.search(r"\|v:(\d+)", line)
    parts = [*([f"version {version[1]}"] if version else []), *([_listed(parameters)] if parameters else [])]
    text = ", ".join(parts) + more
    return f" ({text.removeprefix('; ')})" if text else ""


def _statistics(manifest: Manifest, results: Results) -> list[str]:
    shown = {cell.metric for cell in (*results.leaderboard, *results.shortcuts)}
    shown |= {check.metric for check in results.sanity}
    facts = [one for one in metric_facts_of(manifest) if one.text in shown]
    bounded = any(not one.set_level and None not in one.bounds for one in facts)
    unbounded = any(not one.set_level and None in one.bounds for one in facts)
    sets = any(one.set_level for one in facts)
    ways = [
        *(
            ["those of means of bounded scores with one unseen image at the end of the range (Gaffke 2005)"]
            if bounded
            else []
        ),
        *(
            [f"those of means of unbounded scores by the BCa bootstrap ({results.n_resamples:,} resamples)"]
            if unbounded
            else []
        ),
        *(["those of scores of the whole set by resampling the images, corrected for their bias"] if sets else []),
    ]
    sentences = [f"Random seed: {manifest.settings.seed}."]
    if ways:
        sentences.append(f"Intervals are of 95 %, over images: {'; '.join(ways)}.")
    tested = [family for family in results.families if family.n_images]
    if tested:
        sentences.append(
            "Explainers were compared within each metric by tests of means paired by image (studentized bootstrap, "
            f"{results.n_test_resamples:,} resamples, max-T over up to {max(one.n_pairs for one in tested)} pairs, and "
            "one unseen image of the opposite kind), 5 % family-wise, without a correction between metrics."
        )
    return sentences


def _choice(results: Results) -> list[str]:
    choices = [choice for choice in (results.best_patch_size, *results.best_parameters.values()) if choice is not None]
    if not choices:
        return []
    rule = f"the cheapest variant whose loss to the best is shown to be below {choices[0].margin:g}"
    if not all(choice.decided for choice in choices):
        rule += "; where none is shown to be, the one with the best mean, called undecided"
    return [f"Parameters were chosen by {choices[0].criterion}: {rule} (multiple comparisons with the best)."]


def _unscored(results: Results) -> list[str]:
    lines = unscored_lines(results)
    if lines:
        return [f"Not scored: {'; '.join(lines)}."]
    which = " that applies to it" if results.shortcuts else ""  # some cues are in a part of the images only
    return [f"Every image was scored by every metric{which}."]


def _counted(count: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def _listed(values: Mapping[str, Literals] | Mapping[str, str]) -> str:
    return ", ".join(f"{name}={'none' if value is None else value}" for name, value in values.items())
