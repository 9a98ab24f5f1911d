"""Dropout by a hash: its rate, its masks' independence, attention whose shares are dropped."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrm_jax.models import attention, draws, dropout

RATE, SIDE = 0.1, 512


@functools.cache
def _masks(count=24):
    """Which of [count, SIDE, SIDE] elements are dropped; keys 2i and 2i + 1 differ in one bit."""

    def masks(datas, numbers):
        keys = jax.vmap(jax.random.fold_in)(jax.random.wrap_key_data(datas), numbers)
        return ~dropout.kept(RATE, draws.words(keys), (count, SIDE, SIDE))

    datas = np.array([[7, 1 << bit] for bit in range(count // 2)], np.uint32)
    datas = np.stack([datas, datas ^ np.uint32(1)], axis=1).reshape(-1, 2)
    return np.asarray(jax.jit(masks)(datas, np.arange(count) // 2 % 3))


def test_the_rate_is_honest_and_varies_as_chance_does():
    shares = _masks().mean(axis=(1, 2))
    deviation = (RATE * (1 - RATE)) ** 0.5 / SIDE
    assert (abs(shares - RATE) < 5 * deviation).all() and abs(shares.mean() - RATE) < 3e-4
    assert 0.5 < shares.std() / deviation < 1.6
    assert dropout.scale(RATE) == pytest.approx(1 / (1 - RATE), abs=1e-9)


def _far_off(first, other):
    """Chi-square of the 2 x 2 table of two masks, one degree of freedom, as a deviation."""
    table = np.array([[(a & b).sum() for b in (other, ~other)] for a in (first, ~first)], float)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return ((table - expected) ** 2 / expected).sum() ** 0.5


@pytest.mark.parametrize("shift", [(0, 1), (0, 2), (0, 16), (1, 0), (2, 0), (16, 0), (1, 1)])
def test_neighbouring_elements_are_independent(shift):
    row, column = shift
    first, other = _masks()[:, row:, column:], _masks()[:, : SIDE - row, : SIDE - column]
    assert _far_off(first, other) < 4


def test_masks_of_different_keys_are_independent_and_never_the_same_in_another_order():
    masks = _masks()
    off = [_far_off(a, b) for a, b in itertools.combinations(masks, 2)]
    assert max(off) < 5 and 0.6 < np.mean(np.square(off)) < 1.4
    for a, b in itertools.combinations(masks[:5], 2):  # at every shift
        product = np.fft.fft(a.ravel() - RATE) * np.conj(np.fft.fft(b.ravel() - RATE))
        assert abs(np.fft.ifft(product)).max() < 7 * RATE * (1 - RATE) * SIDE


def test_a_transposed_mask_is_that_of_the_transposed_array():
    words = draws.words(jax.random.split(jax.random.key(0), 8))
    one = dropout.kept(0.3, words, (8, 5, 4))
    assert (one == dropout.kept(0.3, words, (8, 4, 5), order=(2, 1)).swapaxes(1, 2)).all()


def test_what_is_drawn_for_an_example_does_not_depend_on_its_batch():
    """Nor on which axis it lies; its rows, such as the obstacles of a world, differ from one another."""
    keys, x = jax.random.split(jax.random.key(0), 6), jnp.ones((6, 3, 40))
    whole = dropout.dropout(0.3, x, keys)
    assert (dropout.dropout(0.3, x[2:4], keys[2:4]) == whole[2:4]).all()
    assert (dropout.dropout(0.3, x.swapaxes(0, 1), keys, axis=1) == whole.swapaxes(0, 1)).all()
    rows = draws.normal(draws.of_rows(keys, 12), (5,)).reshape(6, 2, 5)
    assert (rows[3:] == draws.normal(draws.of_rows(keys[3:], 6), (5,)).reshape(3, 2, 5)).all()
    assert (rows[:, 0] != rows[:, 1]).all() and len(np.unique(draws.words(keys, 4))) == 48


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_attention_with_dropped_shares_and_its_gradient_are_those_of_the_formula(rate):
    q, k, v = jax.random.normal(jax.random.key(1), (3, 4, 9, 8))
    words = draws.words(jax.random.split(jax.random.key(2), 4)) if rate else None

    def plain(q, k, v):
        shares = jax.nn.softmax(jnp.einsum("nqe,nke->nqk", q, k) / 8**0.5)
        if rate:
            shares = jnp.where(dropout.kept(rate, words, shares.shape), shares / (1 - rate), 0)
        return jnp.sum(jnp.sin(jnp.einsum("nqk,nke->nqe", shares, v)))

    def ours(q, k, v):
        return jnp.sum(jnp.sin(attention.softmax_attention(rate, 9, q, k, v, words)))

    for expected, found in zip(*(jax.grad(f, (0, 1, 2))(q, k, v) for f in (plain, ours)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
