"""Fuzzing of specs, configurations, manifests and baselines: they raise only errors of evalkit."""

from __future__ import annotations

import contextlib
import json
import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.analysis.gate.tolerance import parse_tolerance
from evalkit.core.errors import EvalkitError
from evalkit.core.registry import parse_spec, split_specs
from evalkit.core.settings import RunOptions, merge, read_config
from evalkit.explainers.catalog import EXPLAINERS, expand
from evalkit.metrics.catalog import METRICS
from evalkit.store.baseline import read_baseline
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder

own_errors = contextlib.suppress(EvalkitError)
NAMES = [*EXPLAINERS.names(), *METRICS.names()]
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from(["half", "patch", "none", "1e999", "-0", "0x10", "٣", "1_000", "nan"])
)
KEYS = st.sampled_from(["patch_size", "stride", "fill", "layer", "steps", "ties", "substrate", "tolerance_px", "x"])
SPECS = st.one_of(
    st.text(max_size=60),
    st.text("(),= abcocclusion123_-.\"'", max_size=60),
    st.builds(
        lambda name, pairs: f"{name}({', '.join(f'{key}={value}' for key, value in pairs)})",
        st.sampled_from(NAMES),
        st.lists(st.tuples(KEYS, NUMBERS), max_size=4),
    ),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=12), inner, max_size=4)),
    max_leaves=12,
)
quick = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(SPECS)
def test_specs(text):
    with own_errors:
        parse_spec(text)
    with own_errors:
        split_specs(text)
    for registry in (EXPLAINERS, METRICS):
        with own_errors:
            made = registry.build(text)
            # What can be built can be written down and built again.
            assert registry.build(made.text) == made
    with own_errors:
        expand(text, [16, 32], 0, strides=("patch", "half"))


@quick
@given(st.one_of(SPECS, st.text("0123456789.,%=abinsertion_ ", max_size=30)))
def test_tolerances(text):
    with own_errors:
        found = parse_tolerance(text, ["insertion", "deletion(steps=8)"])
        assert all(0 <= one.amount < float("inf") for one in found.values())


OPTIONS = st.dictionaries(
    st.one_of(st.sampled_from(list(RunOptions.__dataclass_fields__)), st.text(max_size=12)),
    st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=12), st.lists(st.integers(), max_size=3)),
    max_size=5,
)


def toml(options):
    """Write TOML; strings, numbers and lists of numbers are JSON's, but for what JSON has not."""
    special = {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}
    lines = (
        f"{json.dumps(key)} = {special.get(json.dumps(value), json.dumps(value))}" for key, value in options.items()
    )
    return "\n".join(lines)


@quick
@given(OPTIONS)
def test_configurations_that_are_toml(tmp_path, options):
    text = toml(options)
    with contextlib.suppress(tomllib.TOMLDecodeError):
        tomllib.loads(text)
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with own_errors:
        settings = merge(read_config(path))
        assert merge(vars(settings)) == settings


@quick
@given(st.binary(max_size=200))
def test_configurations_that_are_not(tmp_path, data):
    path = tmp_path / "run.toml"
    path.write_bytes(data)
    with own_errors:
        read_config(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_model):
    """The manifest and the baseline of a real run, as bytes."""
    import numpy as np

    import evalkit
    from evalkit.analysis.service import baseline_of
    from evalkit.datasets.image_set import ImageSet
    from evalkit.store.baseline import write_baseline

    folder = tmp_path_factory.mktemp("whole")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    images = ImageSet.from_arrays(pixels, [0, 1, 2])
    evalkit.evaluate(
        tiny_model, images, explainers=["gradcam"], metrics=["insertion"], target="predicted", steps=2,
        preprocess="none", output=folder / "run", progress=False,
    )  # fmt: skip
    write_baseline(folder / "baseline.json", baseline_of(folder / "run"))
    return (folder / "run" / "manifest.json").read_bytes(), (folder / "baseline.json").read_bytes()


def damaged(data):
    """Strategies for what can become of a file: cut, bytes changed, a value replaced, something else altogether."""
    changed = st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), min_size=1, max_size=5)
    document = json.loads(data)
    places = [
        *document,
        *(f"{key}/{inner}" for key, value in document.items() if isinstance(value, dict) for inner in value),
    ]
    return st.one_of(
        st.integers(0, len(data)).map(lambda end: data[:end]),
        changed.map(lambda changes: _with_bytes(data, changes)),
        st.tuples(st.sampled_from(places), JSON).map(lambda change: _with_value(document, *change)),
        JSON.map(lambda value: json.dumps(value).encode()),
        st.binary(max_size=100),
    )


def _with_bytes(data, changes):
    found = bytearray(data)
    for at, value in changes:
        found[at] = value
    return bytes(found)


def _with_value(document, place, value):
    found = json.loads(json.dumps(document))
    key, _, inner = place.partition("/")
    if inner:
        found[key][inner] = value
    else:
        found[key] = value
    return json.dumps(found).encode()


def test_manifests(tmp_path, whole):
    path = tmp_path / "manifest.json"

    @quick
    @given(damaged(whole[0]))
    def read(data):
        path.write_bytes(data)
        found = RunFolder.manifest_at(tmp_path)
        assert found is None or isinstance(found, Manifest)

    read()


def test_baselines(tmp_path, whole):
    path = tmp_path / "baseline.json"

    @quick
    @given(damaged(whole[1]))
    def read(data):
        path.write_bytes(data)
        with own_errors:
            assert read_baseline(path).images

    read()
