"""CONFIG.toml and the command line: the same options, the command line on top."""

from __future__ import annotations

import pytest

from evalkit.core.errors import ConfigError
from evalkit.core.settings import completed, merge, parsed, read_config


def write(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_command_line_beats_file_beats_defaults(tmp_path):
    path = write(tmp_path, 'data = "a.csv"\nsteps = 14\nexplainers = ["gradcam", "random"]\npatch_sizes = [8, 16]\n')
    merged = merge(read_config(path), {"steps": 7, "seed": 0})
    assert (merged.data, merged.steps, merged.target, merged.seed) == ("a.csv", 7, "label", 0)
    assert merged.explainers == ("gradcam", "random")
    assert merged.patch_sizes == (8, 16)


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
    found = completed(merge(given))
    assert (found.data, found.model, found.limit) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepps = 3", "unknown key 'stepps': did you mean 'steps'"),
        ('steps = "many"', "config.toml': --steps 'many' is not allowed; write a whole number"),
        ("steps = true", "--steps True is not allowed; write a whole number"),
        ("steps = 2.0", "--steps 2.0 is not allowed; write a whole number"),
        (f"alpha = 1{'0' * 400}", "--alpha .* it is too large"),
        ("data = 3", "--data 3 is not allowed; write text"),
        ('fresh = "yes"', "--fresh 'yes' is not allowed; write true or false"),
        ("explainers = [3]", "--explainers 3 is not a spec"),
        ("metrics = 1979-05-27", "--metrics .* is not a spec"),
        ("patch_sizes = [8.5]", "--patch-sizes .* is not a list of pixels"),
        ("region_area = [0.5]", "--region-area .* is not allowed; write two fractions"),
        ('tolerance = ["5%"]', "--tolerance .* is not allowed; write a number"),
        ("steps = ", "is not valid TOML"),
        ("[run]\nsteps = 3", "unknown key 'run'"),
        ("criterium = 'deletion'", "unknown key 'criterium': did you mean 'criterion'"),
        ("margin = 'small'", "config.toml': --margin 'small' is not allowed; write a number"),
        ("strides = [1.5]", "config.toml': --strides '1.5' is not allowed"),
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
        ({"output": "a\0b"}, r"--output 'a\\x00b' contains a null character; remove it"),
        ({"margin": 0.0}, "--margin 0 is not allowed; it must be above 0, for example 0.02"),
        ({"margin": -0.5}, "--margin -0.5 is not allowed"),
        ({"margin": float("nan")}, "--margin nan is not allowed"),
        ({"margin": float("inf")}, "--margin inf is not allowed"),
    ],
)
def test_values_out_of_range_are_named_as_options(options, message):
    with pytest.raises(ConfigError, match=message):
        merge(options)


@pytest.mark.parametrize(
    ("given", "share"), [("20%", 0.2), ("0.2", 0.2), (0.2, 0.2), (" 5 % ", 0.05), (0, 0.0), (1, 1.0), ("100%", 1.0)]
)
def test_a_share_is_read(given, share):
    assert merge({"max_lost": given}).max_lost == share


@pytest.mark.parametrize("given", ["20", "much", "", "%", "-1%", "101%", "nan", "1_0%", 1.5, -0.1, True, [0.2], 10**99])
def test_a_share_outside_0_to_1_is_refused(given):
    with pytest.raises(ConfigError, match=r"--max-lost '.*' is not allowed; write a share from 0 to 1 or from 0% to"):
        merge({"max_lost": given})


@pytest.mark.parametrize("given", ["16,x", "", "0", "16,-3", [0]])
def test_patch_sizes_must_be_pixels(given):
    with pytest.raises(ConfigError, match="--patch-sizes"):
        merge({"patch_sizes": given})


def test_patch_sizes_keep_their_order_and_lose_duplicates():
    assert merge({"patch_sizes": "40, 16,40"}).patch_sizes == (40, 16)
    assert merge().patch_sizes is None


def test_the_file_may_say_strides_criterion_and_margin(tmp_path):
    path = write(tmp_path, 'strides = ["patch", 8, "half"]\ncriterion = "deletion(steps=56)"\nmargin = 0.05\n')
    given = read_config(path)
    merged = merge(given)
    assert (merged.strides, merged.criterion, merged.margin) == (("patch", 8, "half"), "deletion(steps=56)", 0.05)
    over = merge(given, {"margin": 1.0, "strides": "4", "criterion": None})
    assert (over.margin, over.strides, over.criterion) == (1.0, (4,), "deletion(steps=56)")
    assert repr(merge(read_config(write(tmp_path, "margin = 1\n"))).margin) == "1.0"
    assert merge().margin == 0.02


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("patch", ("patch",)),
        ("half, 16,patch", ("half", 16, "patch")),
        ("16,16, half,016,half", (16, "half")),
        (["16", 8, "half", 16], (16, 8, "half")),
        (" 8 ,", (8,)),
    ],
)
def test_strides_keep_order_and_lose_duplicates(given, expected):
    assert merge({"strides": given}).strides == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("quarter", "--strides 'quarter' is not allowed; write patch, half, or pixels of at least 1"),
        ("8,0", "--strides '0' is not allowed"),
        ("-4", "--strides '-4' is not allowed"),
        ("8.5", "--strides '8.5' is not allowed"),
        ("²", "--strides '²' is not allowed"),
        ([8, -1], "--strides '-1' is not allowed"),
        ("", "--strides is empty; write for example patch,half or 16"),
        (" , ", "--strides is empty"),
        ([], "--strides is empty"),
    ],
)
def test_other_strides_are_named(given, message):
    with pytest.raises(ConfigError, match=message):
        merge({"strides": given})


@pytest.mark.parametrize(
    ("written", "size"), [("224", (224, 224)), (224, (224, 224)), ("192x256", (192, 256)), ([192, 256], (192, 256))]
)
def test_input_size_is_read(written, size):
    assert parsed({"input_size": written}) == {"input_size": size}
    assert str(parsed({"input_size": written})["input_size"]) == f"{size[0]}x{size[1]}"


@pytest.mark.parametrize("written", ["0", "-3", "a", "192x", "1x2x3", "", 1.5, True, [1, 2, 3], [], "19.5x20"])
def test_other_input_sizes_are_refused(written):
    with pytest.raises(ConfigError, match=r"--input-size '.*' is not allowed; write the side in pixels"):
        parsed({"input_size": written})
