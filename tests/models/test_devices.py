"""GPUs, played where there is none: growing memory, float32 with all its digits, batches that fill a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tensorflow as tf

from evalkit.models import devices, memory

GIB = 1024**3


@pytest.fixture
def played(monkeypatch):
    """Let TensorFlow have two GPUs, and write down what is set."""
    gpus = [SimpleNamespace(name=f"gpu:{number}", device_type="GPU") for number in range(2)]
    done = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind=None: gpus)
    experimental = tf.config.experimental
    monkeypatch.setattr(experimental, "set_memory_growth", lambda gpu, on: done.append((gpu.name, on)))
    monkeypatch.setattr(experimental, "enable_tensor_float_32_execution", lambda on: done.append(("tf32", on)))
    monkeypatch.setattr(experimental, "get_device_details", lambda gpu: {"device_name": f"card of {gpu.name}"})
    return done


def test_memory_grows_and_float32_is_whole(played):
    devices.prepare_devices()
    assert played == [("gpu:0", True), ("gpu:1", True), ("tf32", False)]
    assert devices.gpu_names() == ["card of gpu:0", "card of gpu:1"]


def test_a_gpu_in_use_keeps_its_memory(played, monkeypatch):
    def refuse(_gpu, _on):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    devices.prepare_devices()
    assert played == [("tf32", False)]


def test_without_a_gpu_nothing_is_set(played, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind=None: [])
    devices.prepare_devices()
    assert (played, devices.gpu_names()) == ([], [])


def test_its_memory_is_what_tensorflow_may_use(played, monkeypatch):
    from tensorflow.python.client import device_lib

    local = [SimpleNamespace(device_type="CPU", memory_limit=1), SimpleNamespace(device_type="GPU", memory_limit=7)]
    monkeypatch.setattr(device_lib, "list_local_devices", lambda: local)
    devices.gpu_bytes.cache_clear()
    assert devices.gpu_bytes() == 7
    devices.gpu_bytes.cache_clear()


@pytest.mark.parametrize(
    ("gpu_bytes", "expected"),
    [(80 * GIB, 256), (2 * GIB, 8), (0, 16)],  # 50 MB of float32 for an image and its copies: a quarter, at most 256
)
def test_batches_fit_the_gpu(monkeypatch, gpu_bytes, expected):
    monkeypatch.setattr(memory, "gpu_bytes", lambda: gpu_bytes)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GIB))
    assert memory.fitting_batch({"a": (None, 224, 224, 64)}) == expected
