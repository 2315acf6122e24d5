"""BLEU distances and clusters: by hand, and equal to nltk and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_rzero.rules.repetition import _MATH_TOKEN, bleu_distances, cluster_shares


def nltk_distances(questions, split=str.split, auto_reweigh=False):
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method1
    distances = np.zeros((len(questions), len(questions)))
    for i, earlier in enumerate(questions):
        for j in range(i + 1, len(questions)):
            bleu = sentence_bleu(
                [split(questions[j])], split(earlier), smoothing_function=smooth, auto_reweigh=auto_reweigh
            )
            distances[i, j] = distances[j, i] = 1 - bleu
    return distances


def sklearn_shares(distances, threshold):
    from sklearn.cluster import AgglomerativeClustering

    model = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=threshold
    )
    labels = model.fit_predict(distances)
    return np.bincount(labels)[labels] / len(labels)


def random_questions(seed, count, words, longest):
    """Questions with many common words, near-duplicates and duplicates."""
    rng = np.random.default_rng(seed)
    questions = [" ".join(f"w{k}" for k in rng.zipf(1.3, rng.integers(0, longest)) % words) for _ in range(count)]
    for i in range(0, count, 5):
        questions[i] = questions[(i * 7 + 3) % count] + rng.choice(["", " again", " and then"])
    return questions


def test_distance_worked_by_hand():
    # hypothesis "a b c d e", reference "a b c d f" : matches of orders 1..4 are 4/5, 3/4, 2/3, 1/2; equal lengths
    bleu = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4)
    np.testing.assert_allclose(bleu_distances(["a b c d e", "a b c d f"]), [[0, 1 - bleu], [1 - bleu, 0]])


def test_the_earlier_question_is_the_hypothesis():
    # "a b" against "a b c": orders 1, 2 match fully, 3 and 4 are missing: 0.1 each; brevity exp(1 - 3/2)
    earlier_short = (1 * 1 * 0.1 * 0.1) ** (1 / 4) * math.exp(-0.5)
    # "a b c" against "a b": 2/3, 1/2, 0.1/1, 0.1/1; no brevity penalty
    earlier_long = (2 / 3 * 1 / 2 * 0.1 * 0.1) ** (1 / 4)
    assert bleu_distances(["a b", "a b c"])[0, 1] == pytest.approx(1 - earlier_short)
    assert bleu_distances(["a b c", "a b"])[0, 1] == pytest.approx(1 - earlier_long)


def test_repeated_words_count_as_often_as_the_other_has_them():
    # "a a a a" against "a a b b": unigrams min(4, 2)/4, bigrams 1/3, none of order 3 and 4: 0.1/2, 0.1/1
    bleu = (2 / 4 * 1 / 3 * 0.1 / 2 * 0.1) ** (1 / 4)
    assert bleu_distances(["a a a a", "a a b b"])[0, 1] == pytest.approx(1 - bleu)


@pytest.mark.parametrize(
    ("text", "distance"),
    [
        ("a b c d", 0.0),
        ("a b c", 1 - 0.1 ** (1 / 4)),  # .44: order 4 is missing
        ("7+3+9", 1 - 0.1 ** (3 / 4)),  # .82: one token, three orders are missing
        ("", 1.0),
    ],
)
def test_identical_short_texts_keep_a_distance_by_whitespace_and_none_as_math(text, distance):
    assert bleu_distances([text, text])[0, 1] == pytest.approx(distance)
    assert bleu_distances([text, text], "math")[0, 1] == 0.0


def test_math_tokens():
    assert _MATH_TOKEN.findall(r"12+3x=\frac{1}{2} 求和，ab_1") == [
        "12", "+", "3", "x", "=", "\\frac", "{", "1", "}", "{", "2", "}", "求", "和", "，", "ab", "_", "1",
    ]  # fmt: skip


def test_math_distance_worked_by_hand():
    # 7 + 3 against 7 + 4: orders 1..3 (the hypothesis has no fourth): 2/3, 1/2, 0.1/1
    bleu = (2 / 3 * 1 / 2 * 0.1) ** (1 / 3)
    assert bleu_distances(["7+3", "7+4"], "math")[0, 1] == pytest.approx(1 - bleu)
    assert bleu_distances(["7+3", "7+4"])[0, 1] == 1.0


@pytest.mark.parametrize(("words", "longest"), [(3, 7), (40, 30), (400, 90)])
def test_equal_to_nltk_and_scikit_learn(words, longest):
    questions = random_questions(words, 70, words, longest)
    ours, theirs = bleu_distances(questions), nltk_distances(questions)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    for threshold in (0.2, 0.5, 0.9):
        np.testing.assert_array_equal(cluster_shares(questions, threshold), sklearn_shares(theirs, threshold))


def test_more_than_one_block_of_rows():
    questions = random_questions(1, 600, 60, 20)
    rows = [0, 255, 256, 511, 512, 599]
    ours = bleu_distances(questions)[np.ix_(rows, rows)]
    np.testing.assert_allclose(ours, nltk_distances([questions[i] for i in rows]), rtol=0, atol=1e-12)
    distinct = [f"{question} {i}" for i, question in enumerate(questions)]  # without duplicates only half is computed
    ours = bleu_distances(distinct)[np.ix_(rows, rows)]
    np.testing.assert_allclose(ours, nltk_distances([distinct[i] for i in rows]), rtol=0, atol=1e-12)


def test_a_repeated_question_is_the_reference_of_all_between():
    # "a b c d" stands first and last: a question between is its reference, then its hypothesis
    between = [f"a b c {k} {k}" for k in range(300)]
    distances = bleu_distances(["a b c d", *between, "a b c d"])
    np.testing.assert_allclose(distances[0, 300], nltk_distances(["a b c d", between[-1]])[0, 1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(distances[300, 301], nltk_distances([between[-1], "a b c d"])[0, 1], rtol=0, atol=1e-12)
    assert abs(distances[0, 300] - distances[300, 301]) > 0.01


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab c", max_size=12), max_size=8))
def test_any_texts_equal_nltk(questions):
    np.testing.assert_allclose(bleu_distances(questions), nltk_distances(questions), rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="12+x= ", min_size=1, max_size=10).filter(str.strip), max_size=8))
def test_math_tokens_equal_nltk_with_its_own_reweighting(questions):
    theirs = nltk_distances(questions, _MATH_TOKEN.findall, auto_reweigh=True)
    np.testing.assert_allclose(bleu_distances(questions, "math"), theirs, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(st.lists(st.text(max_size=15), min_size=1, max_size=10), st.sampled_from(["whitespace", "math"]))
def test_distances_are_symmetric_and_within_bounds(questions, tokens):
    distances = bleu_distances(questions, tokens)
    assert np.array_equal(distances, distances.T)
    assert not distances.diagonal().any()
    assert np.all((distances >= -1e-12) & (distances <= 1))


def test_shares_worked_by_hand():
    # three copies of one question, two of another, one alone, of 6
    first, second = "find the sum of all primes below ten", "how many ways can five people sit down"
    questions = [first, second, first, "what is the area of a unit circle", second, first]
    np.testing.assert_allclose(cluster_shares(questions), [3 / 6, 2 / 6, 3 / 6, 1 / 6, 2 / 6, 3 / 6])


def test_malformed_outputs_of_the_batch_count_in_the_denominator():
    np.testing.assert_allclose(cluster_shares(["a b c d"] * 2, batch_size=8), [2 / 8, 2 / 8])
    np.testing.assert_allclose(cluster_shares(["a b c d"], batch_size=8), [1 / 8])
    with pytest.raises(ValueError, match="batch_size"):
        cluster_shares(["a", "b"], batch_size=1)


def test_a_merge_at_the_threshold_is_not_made():
    questions = ["a b c d e", "a b c d f"]
    distance = bleu_distances(questions)[0, 1]
    np.testing.assert_allclose(cluster_shares(questions, distance), [1 / 2, 1 / 2])
    np.testing.assert_allclose(cluster_shares(questions, np.nextafter(distance, 1)), [1, 1])


def test_sums_of_the_tiny_world_cluster_as_math_only():
    questions = ["7+3+9+2+5", "7+3+9+2+5", "1+8+4"]
    np.testing.assert_allclose(cluster_shares(questions), [1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(cluster_shares(questions, tokens="math"), [2 / 3, 2 / 3, 1 / 3])


def test_nothing_and_one():
    assert cluster_shares([]).shape == (0,)
    assert bleu_distances([]).shape == (0, 0)
    np.testing.assert_array_equal(cluster_shares(["a"]), [1.0])


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="whitespace"):
        bleu_distances(["a"], "words")
    with pytest.raises(ValueError, match="average"):
        cluster_shares(["a", "b"], linkage_method="ward")
