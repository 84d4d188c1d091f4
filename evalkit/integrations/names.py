"""Names of metrics, explainers and parameters that every tracker takes: lower-case letters, digits and ``_``.

Different texts have different names, whatever else a run has in it, so that a name means the same in every run.
"""

from __future__ import annotations

import contextlib
import re
from functools import cache

from evalkit.core.errors import ConfigError
from evalkit.core.signature import digest
from evalkit.metrics.catalog import METRICS
from evalkit.store.manifest import MetricFacts

__all__ = ["OF_RUN", "metric_name", "safe_name"]

OF_RUN = "run"
"""The first part of names that are about the run as a whole; no metric has it."""

_LONGEST, _LONGEST_PART = 100, 60
_WORD = r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*"
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_LIBRARY = "tf_explain"  # the only library whose explainers have a point in their names
_PARAMETER = rf"{_WORD}=(?:{_WORD}|{_NUMBER})"
_REGULAR = re.compile(rf"(?:{_LIBRARY}\.)?(?!{_LIBRARY}_){_WORD}(?:\((?:{_WORD}|{_PARAMETER}(?:, {_PARAMETER})*)\))?")


def safe_name(text: str) -> str:
    """Return the name of a spec.

    Parentheses, commas and equals signs become ``__`` and points ``_``. A text in which anything else is not a
    lower-case letter, digit or single ``_`` gets, after what is safe of it, ``___`` and eight digits of its sha256.

    >>> safe_name("gradcam"), safe_name("tf_explain.occlusion(patch_size=40, stride=20)")
    ('gradcam', 'tf_explain_occlusion__patch_size__40__stride__20')
    >>> safe_name("my_module:Mine(strength=-1)")
    'my_module_Mine_strength_1___ebf1423a'
    """
    if _REGULAR.fullmatch(text) and len(text) <= _LONGEST:
        return re.sub(r"[(=]|, ", "__", text.removesuffix(")")).replace(".", "_")
    return _marked(text)


def metric_name(facts: MetricFacts) -> str:
    """Return the name of a metric: ``safe_name`` with the short title of evalkit's own metrics, e.g. ``gain``."""
    title = _titles().get(facts.name)
    if title is not None:
        return safe_name(title + facts.text.removeprefix(facts.name))
    taken = {*_titles().values(), OF_RUN}
    return _marked(facts.text) if facts.name in taken else safe_name(facts.text)


@cache
def _titles() -> dict[str, str]:
    """Return the short titles of evalkit's own metrics, by name; a test holds that they differ."""
    titles = {}
    for name in METRICS.names():
        with contextlib.suppress(ConfigError):  # an installed metric of others that cannot be imported
            component = METRICS.get(name)
            if component.__module__.startswith("evalkit."):
                titles[name] = component.spec.column or name
    return titles


def _marked(text: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:_LONGEST_PART].strip("_")
    if not readable[:1].isalpha():  # some trackers take no digit first
        readable = f"x_{readable}" if readable else "x"
    return f"{readable}___{digest(text, 8)}"
