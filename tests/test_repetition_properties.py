"""Repetition on random texts against nltk, scikit-learn and scipy, one pair after the other; and what order means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_rzero.rules.repetition import bleu_distances, cluster_shares

words = st.sampled_from(["find", "the", "sum", "of", "all", "x", "7", "primes", "求", "和", r"\frac{1}{2}"])
questions = st.lists(words, max_size=12).map(" ".join)
batches = st.lists(questions, min_size=2, max_size=9)


def slow_distances(batch):
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method1
    distances = np.zeros((len(batch), len(batch)))
    for i, earlier in enumerate(batch):
        for j in range(i + 1, len(batch)):
            bleu = sentence_bleu([batch[j].split()], earlier.split(), smoothing_function=smooth)
            distances[i, j] = distances[j, i] = 1 - bleu
    return distances


def slow_shares(distances, threshold, linkage):
    """Merge the two nearest clusters while they are nearer than the threshold."""
    join = {"average": np.mean, "complete": np.max, "single": np.min}[linkage]
    clusters = [[i] for i in range(len(distances))]
    while len(clusters) > 1:
        pairs = [(a, b) for a in range(len(clusters)) for b in range(a + 1, len(clusters))]
        apart = [join(distances[np.ix_(clusters[a], clusters[b])]) for a, b in pairs]
        nearest = int(np.argmin(apart))
        if apart[nearest] >= threshold:
            break
        a, b = pairs[nearest]
        clusters[a] += clusters.pop(b)
    share = {i: len(cluster) / len(distances) for cluster in clusters for i in cluster}
    return [share[i] for i in range(len(distances))]


@settings(max_examples=60, deadline=None)
@given(batches)
def test_distances_equal_nltk(batch):
    np.testing.assert_allclose(bleu_distances(batch), slow_distances(batch), rtol=0, atol=1e-12)


def no_two_joins_at_one_distance(distances):
    """Of equally near clusters either may be joined first; then the shares may differ rightly."""
    apart = distances[np.triu_indices(len(distances), 1)]
    return len(np.unique(np.round(apart, 9))) == len(apart)


@pytest.mark.parametrize("linkage", ["average", "complete", "single"])
def test_shares_equal_merging_by_hand(linkage):
    rng = np.random.default_rng(7)
    compared = 0
    for _ in range(100):
        batch = [" ".join(f"w{k}" for k in rng.zipf(1.6, rng.integers(5, 15)) % 12) for _ in range(7)]
        distances = slow_distances(batch)
        if not no_two_joins_at_one_distance(distances):
            continue
        threshold = float(rng.choice([0.3, 0.5, 0.7, 0.9]))
        ours = cluster_shares(batch, threshold, linkage_method=linkage)
        np.testing.assert_allclose(ours, slow_shares(distances, threshold, linkage))
        compared += 1
    assert compared > 30


@settings(max_examples=20, deadline=None)
@given(batches, st.sampled_from(["whitespace", "math"]), st.data())
def test_only_the_order_of_the_two_matters_for_a_pair(batch, tokens, data):
    """In any batch a pair has the distance that it has alone, the earlier question as hypothesis."""
    shuffled = data.draw(st.permutations(batch))
    distances = bleu_distances(shuffled, tokens)
    assert np.array_equal(distances, distances.T)
    for i in range(len(shuffled)):
        for j in range(i + 1, len(shuffled)):
            alone = bleu_distances([shuffled[i], shuffled[j]], tokens)[0, 1]
            assert distances[i, j] == pytest.approx(alone, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(batches, st.floats(0.05, 1.0), st.integers(0, 5))
def test_shares_are_sizes_of_a_partition(batch, threshold, malformed):
    size = len(batch) + malformed
    counts = cluster_shares(batch, threshold, batch_size=size) * size
    np.testing.assert_allclose(counts, np.round(counts))
    for count in np.unique(np.round(counts)):
        assert np.sum(np.round(counts) == count) % count == 0  # k members each of clusters of k


@settings(max_examples=40, deadline=None)
@given(batches)
def test_a_larger_threshold_never_makes_a_smaller_cluster(batch):
    shares = [cluster_shares(batch, threshold) for threshold in (0.2, 0.5, 0.8, 1.01)]
    for smaller, larger in zip(shares, shares[1:], strict=False):
        assert np.all(smaller <= larger)
    assert np.all(shares[-1] == 1.0)  # every distance is at most 1
