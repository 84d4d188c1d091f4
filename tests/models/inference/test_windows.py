"""Which windows change and what they read: against a mask pushed through the layer pixel by pixel."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import assume, given
from hypothesis import strategies as st

from evalkit.models.inference.windows import Axis, Windows, same_padding


@st.composite
def axes(draw):
    size, kernel, stride = draw(st.integers(1, 40)), draw(st.integers(1, 7)), draw(st.integers(1, 4))
    if draw(st.booleans()):
        return Axis(kernel, stride, same_padding(size, kernel, stride), size, -(-size // stride))
    assume(kernel <= size)
    return Axis(kernel, stride, 0, size, (size - kernel) // stride + 1)


def reads(axis, output):
    """The pixels that one output is made from, by the definition of a convolution."""
    first = output * axis.stride - axis.before
    return range(first, first + axis.kernel)


@given(axes(), st.data())
def test_windows_hold_every_changed_output_in_one_size(axis, data):
    length = data.draw(st.integers(1, axis.size_in))
    starts = np.array(data.draw(st.lists(st.integers(0, axis.size_in - length), min_size=1, max_size=6)))
    found = axis.changed(Windows(starts, length))
    assert found.pixels.shape == (len(starts), found.length)
    assert found.starts.min() >= 0
    assert found.starts.max() + found.length <= axis.size_out
    needed = [
        {output for output in range(axis.size_out) if set(reads(axis, output)) & set(range(start, start + length))}
        for start in starts.tolist()
    ]
    for inside, output in zip(found.pixels.tolist(), needed, strict=True):
        assert output <= set(inside)
    assert found.length <= max(1, *map(len, needed))


@given(axes(), st.data())
def test_outputs_read_exactly_their_receptive_field(axis, data):
    length = data.draw(st.integers(1, axis.size_out))
    starts = np.array(data.draw(st.lists(st.integers(-3, axis.size_out - length + 3), min_size=1, max_size=4)))
    found = axis.read(Windows(starts, length))
    for start, pixels in zip(starts.tolist(), found.pixels.tolist(), strict=True):
        wanted = {pixel for output in range(start, start + length) for pixel in reads(axis, output)}
        assert {pixels[0], pixels[-1]} <= wanted <= set(pixels)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 4))
def test_same_padding_is_tensorflows(size, kernel, stride):
    """A kernel that picks its first pixel shows how far the input was moved."""
    pick = np.zeros((kernel, 1, 1, 1), np.float32)
    pick[0] = 1
    numbers = np.arange(1, size + 1, dtype=np.float32).reshape(1, size, 1, 1)
    first = tf.nn.conv2d(numbers, pick, [1, stride, 1, 1], "SAME")[0, :, 0, 0].numpy()
    before = same_padding(size, kernel, stride)
    at = np.arange(len(first)) * stride - before
    np.testing.assert_array_equal(first, np.where((at >= 0) & (at < size), at + 1, 0))
