"""Fake quantization forward is the FixNeuron, value for value; backward it is TQT's equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuedge import fixed

pytestmark = pytest.mark.train


def quantized(x, pos, rounding, bits=8):
    from dpuflow.qat.fake_quantize import fake_quantize, threshold_of

    return np.asarray(fake_quantize(np.asarray(x, np.float32), np.float32(threshold_of(pos, bits)), bits, rounding))


@pytest.mark.parametrize("rounding", ["half_up", "half_away"])
@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=20), pos=st.integers(-8, 12),
       bits=st.sampled_from([2, 4, 8]))
def test_forward_is_the_fix_neuron(rounding, values, pos, bits):
    x = np.array(values, np.float32)
    np.testing.assert_array_equal(quantized(x, pos, rounding, bits), fixed.snap(x, pos, rounding, bits))


@pytest.mark.parametrize("rounding", ["half_up", "half_away"])
def test_ties_and_neighbours_of_ties(rounding):
    ties = np.arange(-130.5, 131, 1, np.float32)
    x = np.concatenate([ties, np.nextafter(ties, np.float32(1e9)), np.nextafter(ties, np.float32(-1e9)),
                        np.float32([0.49999997, -0.49999997, 1e30, -1e30])])
    np.testing.assert_array_equal(quantized(x, 0, rounding), fixed.snap(x, 0, rounding))


@pytest.mark.parametrize("pos", [-3, 0, 5, 11])
def test_a_threshold_in_the_middle_means_its_position(pos):
    from dpuflow.qat.fake_quantize import position_of, threshold_of

    middle = threshold_of(pos, 8)
    assert position_of(middle, 8) == pos == position_of(middle + 0.4, 8) == position_of(middle - 0.4, 8)
    assert position_of(middle + 0.6, 8) == pos - 1


def gradients(x, log2_threshold):
    import tensorflow as tf

    from dpuflow.qat.fake_quantize import fake_quantize

    values, threshold = tf.Variable(np.float32(x)), tf.Variable(np.float32(log2_threshold))
    with tf.GradientTape() as tape:
        out = tf.reduce_sum(fake_quantize(values, threshold))
    return tape.gradient(out, [values, threshold])


@pytest.mark.parametrize(("x", "to_x", "to_threshold"), [
    (0.3, 1.0, math.log(2) * (2**-6) * (19 - 0.3 * 64)),  # inside: s ln2 (round(x/s) - x/s)
    (-0.7, 1.0, math.log(2) * (2**-6) * (-45 + 0.7 * 64)),
    (5.0, 0.0, math.log(2) * (2**-6) * 127),  # saturated: s ln2 p
    (-5.0, 0.0, math.log(2) * (2**-6) * -128),
])
def test_gradients_are_those_of_trained_thresholds(x, to_x, to_threshold):
    """Step 2**-6: threshold 2**1, log2 between 0 and 1 (TQT, equations 6 to 8)."""
    got_x, got_threshold = gradients([x], 0.5)
    assert np.asarray(got_x)[0] == to_x
    assert float(got_threshold) == pytest.approx(to_threshold, rel=1e-5)
