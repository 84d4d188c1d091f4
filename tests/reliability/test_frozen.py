"""What a run was begun with stays when it is gone on with: precision and batch shape."""

from __future__ import annotations

import json
import signal

import keras
import pytest

from evalkit.harness.engine.signals import uninterrupted
from evalkit.harness.planning import precision as precision_choice

RUN = (
    "run", "--model", "tiny.keras", "--data", "labels.csv", "--target", "predicted", "--steps", "4", "--explainers",
    "gradcam", "--output", "out",
)  # fmt: skip


def settings(workplace):
    manifest = json.loads((workplace / "out" / "manifest.json").read_text())
    return manifest["model"]["precision"], manifest["settings"]["batch_size"]


@pytest.mark.parametrize("units", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precision_and_batch_size_stay_unless_told_otherwise(evalkit, workplace, monkeypatch, precision, units):
    assert evalkit(*RUN, "--metrics", "deletion", "--precision", precision, "--batch-size", "3").code == 0
    # On another machine auto would choose otherwise.
    monkeypatch.setattr(precision_choice, "has_bfloat16_units", lambda: units)
    assert evalkit(*RUN, "--metrics", "deletion,insertion").code == 0
    assert settings(workplace) == (precision, 3)
    other = {"float32": "bfloat16", "bfloat16": "float32"}[precision]
    assert evalkit(*RUN, "--metrics", "deletion,insertion", "--precision", other, "--batch-size", "2").code == 0
    assert settings(workplace) == (other, 2)


def test_another_model_and_fresh_choose_anew(evalkit, workplace, tiny_model, monkeypatch):
    monkeypatch.setattr(precision_choice, "has_bfloat16_units", lambda: False)
    keras.utils.set_random_seed(99)
    keras.models.clone_model(tiny_model).save("other.keras")
    for again in ((*RUN, "--fresh"), [one.replace("tiny", "other") for one in RUN]):
        assert evalkit(*RUN, "--metrics", "deletion", "--precision", "bfloat16", "--batch-size", "3").code == 0
        assert evalkit(*again, "--metrics", "deletion").code == 0
        precision, batch_size = settings(workplace)
        assert precision == "float32"
        assert batch_size > 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_what_is_written_is_written(number):
    class Stopped(BaseException):
        pass

    def stop(_number, _frame):
        raise Stopped

    def write():
        with uninterrupted():
            signal.raise_signal(number)
            seen.append("written")

    before, seen = signal.signal(number, stop), []
    try:
        with pytest.raises(Stopped):
            write()
        assert seen == ["written"]
        assert signal.getsignal(number) is stop
        with pytest.raises(Stopped):
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)
