"""CONFIG.toml and the command line: the same options, the command line on top."""

from __future__ import annotations

import pytest

from evalkit.config import DEFAULTS, RunOptions, completed, merge, patch_sizes_of, read_config
from evalkit.errors import ConfigError


def write(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_the_command_line_wins_over_the_file_and_the_file_over_defaults(tmp_path):
    path = write(tmp_path, 'data = "a.csv"\nsteps = 14\nexplainers = ["gradcam", "random"]\npatch_sizes = [8, 16]\n')
    merged = merge(DEFAULTS, read_config(path), RunOptions(steps=7, seed=0))
    assert (merged.data, merged.steps, merged.target, merged.seed) == ("a.csv", 7, "label", 0)
    assert merged.explainers == ["gradcam", "random"]
    assert patch_sizes_of(merged) == [8, 16]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("scenes", "vgg16-mini", 24)),
        ({"model": "VGG16_Mini"}, ("scenes", "VGG16_Mini", 24)),
        ({"model": "vgg16-mini", "limit": 5}, ("scenes", "vgg16-mini", 5)),
        ({"data": "scenes", "model": "my.keras"}, ("scenes", "my.keras", 24)),
        ({"model": "my.keras"}, (None, "my.keras", None)),
        ({"data": "photos"}, ("photos", None, None)),
        ({"data": "photos", "model": "vgg16-mini"}, ("photos", "vgg16-mini", None)),
    ],
)
def test_what_is_left_out_of_the_embedded_benchmark_is_filled_in(given, expected):
    found = completed(merge(DEFAULTS, RunOptions(**given)))
    assert (found.data, found.model, found.limit) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepps = 3", "unknown key 'stepps': did you mean 'steps'"),
        ('steps = "many"', r"config.toml'.*\$\.steps"),
        ("steps = ", "is not valid TOML"),
        ("[run]\nsteps = 3", "unknown key 'run'"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_config(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone.toml' cannot be read"):
        read_config(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "--steps 0 is not allowed; it must be at least 1"),
        ({"limit": -1}, "--limit -1 is not allowed"),
        ({"batch_size": 0}, "--batch-size 0 is not allowed"),
        ({"seed": -5}, "--seed -5 is not allowed"),
        ({"target": "guess"}, "--target 'guess' is unknown"),
        ({"geometry": "stretch"}, "--geometry 'stretch' is unknown"),
    ],
)
def test_values_out_of_range_are_named_as_options(options, message):
    with pytest.raises(ConfigError, match=message):
        merge(DEFAULTS, RunOptions(**options))


@pytest.mark.parametrize("given", ["16,x", "", "0", "16,-3", [0]])
def test_patch_sizes_must_be_pixels(given):
    with pytest.raises(ConfigError, match="--patch-sizes"):
        patch_sizes_of(RunOptions(patch_sizes=given))


def test_patch_sizes_keep_their_order_and_lose_duplicates():
    assert patch_sizes_of(RunOptions(patch_sizes="40, 16,40")) == [40, 16]
    assert patch_sizes_of(RunOptions()) is None
