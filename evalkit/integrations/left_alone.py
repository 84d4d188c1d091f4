"""What scoring leaves as it was between two epochs: random numbers, the model's variables, settings of TensorFlow."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from tensorflow.python.eager import context
from tensorflow.python.ops import stateful_random_ops

from evalkit.models.devices import gpu_names
from evalkit.models.zoo.reuse import same_values

__all__ = ["left_alone"]

# Of Keras itself: the generator of layers and functions without a seed, and the numbers in names such as dense_3.
_OF_KERAS = ("global_seed_generator", "object_name_uids")


@contextmanager
def left_alone(model: keras.Model) -> Iterator[None]:
    """Put back, at the end of the block, what training depends on.

    That is the state of every random number generator (Python, NumPy, Keras, TensorFlow), the model's weights and
    seeds, the numbers in Keras' names of layers, and whether GPUs may compute float32 as TF32, which the block does
    not. The values of variables are not copied: where nothing changed them, this costs nothing.

    Args:
        model: the model that is trained.
    """
    with ExitStack() as kept:
        for put_back in (_python(), _numpy(), *map(_keras, _OF_KERAS), _tensorflow(), _generator(), _tf32()):
            kept.callback(put_back)
        kept.callback(_variables(model))
        yield


def _python() -> Callable[[], None]:
    state = random.getstate()
    return lambda: random.setstate(state)


def _numpy() -> Callable[[], None]:
    state = np.random.get_state()  # noqa: NPY002 - the global one, which user code may use
    return lambda: np.random.set_state(state)  # noqa: NPY002


def _keras(name: str) -> Callable[[], None]:
    value = global_state.get_global_attribute(name)
    if isinstance(value, keras.random.SeedGenerator):
        state = tf.convert_to_tensor(value.state.value)

        def put_back() -> None:
            value.state.assign(state)
            global_state.set_global_attribute(name, value)

        return put_back
    copied = copy.copy(value)
    return lambda: global_state.set_global_attribute(name, copied)


def _tensorflow() -> Callable[[], None]:
    """Return what puts back the seed of ``tf.random.set_seed``, and how many operations have drawn from it."""
    now: Any = context.context()
    seed, rng = now._seed, getattr(now, "_rng", None)
    state = rng.getstate() if rng else None

    def put_back() -> None:
        drawn = getattr(now, "_rng", None)
        if drawn is rng and (rng is None or rng.getstate() == state) and now._seed == seed:
            return
        now._seed, now._rng = seed, rng
        if rng is not None:
            rng.setstate(state)
        now.clear_kernel_cache()  # an operation with the same seed would go on where its kernel is

    return put_back


def _generator() -> Callable[[], None]:
    generator = stateful_random_ops.global_generator
    if generator is None:
        return lambda: setattr(stateful_random_ops, "global_generator", None)
    state = tf.identity(generator.state)

    def put_back() -> None:
        generator.state.assign(state)
        stateful_random_ops.global_generator = generator

    return put_back


def _tf32() -> Callable[[], None]:
    allowed = tf.config.experimental.tensor_float_32_execution_enabled()
    if allowed and gpu_names():
        tf.config.experimental.enable_tensor_float_32_execution(False)
    return lambda: tf.config.experimental.enable_tensor_float_32_execution(allowed)


def _variables(model: keras.Model) -> Callable[[], None]:
    """Return what puts back weights and seeds; metrics are of no epoch at its end."""
    metrics = {id(variable) for variable in model.metrics_variables}
    variables = [variable for variable in model.variables if id(variable) not in metrics]
    # TensorFlow gives a variable new memory if a tensor uses the memory of its last value.
    values = [tf.convert_to_tensor(variable.value) for variable in variables]

    def put_back() -> None:
        for variable, value in zip(variables, values, strict=True):
            if not same_values(value, tf.convert_to_tensor(variable.value)):
                variable.assign(value)

    return put_back
