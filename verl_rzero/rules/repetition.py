"""How much a question repeats others of its batch: all-pairs BLEU distances and clusters (R-Zero, arXiv 2508.05004).

d_ij = 1 - BLEU(x_i, x_j); agglomerative clusters with average linkage at distance 0.5; the penalty of a question is
|its cluster| / B. For all pairs at once, BLEU needs only the number of common n-grams of every pair, which is a product
of sparse indicator matrices: sum_g min(c_a(g), c_b(g)) = sum_g sum_k [c_a(g) >= k] [c_b(g) >= k].
"""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

Tokens = Literal["whitespace", "math"]
Linkage = Literal["average", "complete", "single"]

_ORDERS = 4
_EPSILON = 0.1  # method1 smoothing: what a count of 0 is replaced by
_DENSE_SHARE = 1 / 16  # an n-gram that more than this share of the texts have is cheaper in a dense product
_ROWS = 256  # texts per block, bounds the memory of temporary matrices

# A run of digits, a LaTeX command, a word of an alphabet, one CJK character, or one symbol.
_MATH_TOKEN = re.compile(r"[0-9]+|\\[A-Za-z]+|[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\W\d_\u2e80-\uffff]+|\S")


def math_tokens(text: str) -> list[str]:
    """Numbers, LaTeX commands, words, single CJK characters and single symbols of a text, in order."""
    return _MATH_TOKEN.findall(text)


def bleu_distances(questions: Sequence[str], tokens: Tokens = "whitespace") -> NDArray[np.float64]:
    """1 - sentence BLEU of every pair: float64[B, B], symmetric, zeros on the diagonal.

    BLEU is not symmetric: for i < j the earlier question x_i is the hypothesis and the later x_j the reference, as in
    R-Zero's code. Orders 1 to 4 with equal weights, an order without a match counts as 0.1 matches (nltk's method1).

    Tokens:
        "whitespace" (the paper): equal to nltk's `sentence_bleu` on `str.split()`. A text of fewer than 4 tokens lacks
            the higher orders, each counts 0.1, so that even identical short texts keep a distance: 0.44 with 3 tokens,
            0.82 with one. Texts without blanks ("7+3+9", Chinese) are one token and hardly ever cluster.
        "math": numbers, LaTeX commands, words, single CJK characters and single symbols are tokens, and only the orders
            that the hypothesis has are counted (nltk's auto_reweigh). Identical texts have distance 0.

    Raises:
        ValueError: unknown `tokens`.
    """
    if tokens not in ("whitespace", "math"):
        raise ValueError(f'tokens must be "whitespace" or "math", got {tokens!r}')
    split = str.split if tokens == "whitespace" else math_tokens
    text_id: dict[str, int] = {}
    of_question = np.array([text_id.setdefault(question, len(text_id)) for question in questions], dtype=np.int64)
    distinct = len(text_id) == len(questions)
    bleu_U = _bleu([split(text) for text in text_id], only_own_orders=tokens == "math", upper_only=distinct)
    distances_U = np.subtract(1.0, bleu_U, out=bleu_U)
    if tokens == "math":
        np.fill_diagonal(distances_U, 0.0)  # two empty texts are identical too
    if not distinct:
        distances_U = distances_U[of_question[:, None], of_question[None, :]]
    _mirror_upper(distances_U)
    return distances_U


def cluster_shares(
    questions: Sequence[str],
    threshold: float = 0.5,
    *,
    tokens: Tokens = "whitespace",
    linkage_method: Linkage = "average",
    batch_size: int | None = None,
) -> NDArray[np.float64]:
    """|cluster of the question| / B per question, float64[len(questions)].

    Clusters merge while their linkage distance is below `threshold` (as scikit-learn's AgglomerativeClustering with
    `distance_threshold`).

    Args:
        batch_size: B when the batch also holds malformed outputs, which are not among `questions`; else their number.

    Raises:
        ValueError: unknown `linkage_method` or `tokens`, or `batch_size` smaller than the number of questions.
    """
    count = len(questions)
    if batch_size is None:
        batch_size = count
    if batch_size < count:
        raise ValueError(f"batch_size is {batch_size} but there are {count} questions")
    cluster = _clusters(questions, threshold, tokens, linkage_method)
    share_B: NDArray[np.float64] = np.bincount(cluster)[cluster] / max(1, batch_size)
    return share_B


def shares_with_memory(
    questions: Sequence[str],
    memory: Sequence[str],
    threshold: float = 0.5,
    *,
    tokens: Tokens = "whitespace",
    linkage_method: Linkage = "average",
    batch_size: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Clusters over the batch and remembered earlier questions together, so that cycling through old ones shows too
    (the idea of R-Diverse's memory bank, arXiv 2602.13103; the shares are ours).

    Returns:
        Per question of the batch, float64[len(questions)] each: |cluster within the batch| / B, and |cluster within the
        memory| / |memory| (0 without a memory).

    Raises:
        ValueError: as `cluster_shares`.
    """
    count, size = len(questions), len(questions) if batch_size is None else batch_size
    if size < count:
        raise ValueError(f"batch_size is {size} but there are {count} questions")
    cluster = _clusters([*memory, *questions], threshold, tokens, linkage_method)
    old, new = cluster[: len(memory)], cluster[len(memory) :]
    most = int(cluster.max(initial=0)) + 1
    return (
        np.bincount(new, minlength=most)[new] / max(1, size),
        np.bincount(old, minlength=most)[new] / max(1, len(memory)),
    )


def _clusters(texts: Sequence[str], threshold: float, tokens: Tokens, linkage_method: Linkage) -> NDArray[np.int64]:
    """The number of each text's cluster."""
    if linkage_method not in ("average", "complete", "single"):
        raise ValueError(f"linkage_method must be average, complete or single, got {linkage_method!r}")
    if len(texts) < 2:
        return np.zeros(len(texts), dtype=np.int64)
    condensed = squareform(bleu_distances(texts, tokens), checks=False)
    merges = linkage(condensed, method=linkage_method)
    cluster: NDArray[np.int64] = fcluster(merges, np.nextafter(threshold, -np.inf), criterion="distance")
    return cluster


def _bleu(texts: Sequence[Sequence[str]], only_own_orders: bool, upper_only: bool) -> NDArray[np.float64]:
    """BLEU of ordered pairs, float64[U, U]: row = hypothesis, column = reference; only row < column on request."""
    count = len(texts)
    length = np.array([len(text) for text in texts], dtype=np.int64)
    orders = np.clip(length, 1, _ORDERS) if only_own_orders else np.full(count, _ORDERS)
    common = [_Common(grams) for grams in _ngram_indicators(texts)]
    bleu = np.zeros((count, count))
    for start in range(0, count, _ROWS):
        rows = slice(start, min(start + _ROWS, count))
        columns = slice(start if upper_only else 0, count)
        product = np.ones((rows.stop - start, count - columns.start))
        for order, grams in enumerate(common, start=1):
            matches = grams.counts(rows, columns)
            total = np.maximum(length[rows] - order + 1, 1)  # n-grams of the hypothesis
            if order == 1:
                no_word_in_common = matches == 0
            precision = np.maximum(matches, _EPSILON, out=matches)
            precision /= total[:, None]
            if only_own_orders:
                precision[orders[rows] < order] = 1.0
            product *= precision
        scores = np.power(product, 1.0 / orders[rows, None]) if only_own_orders else np.sqrt(np.sqrt(product))
        too_short = 1.0 - length[None, columns] / np.maximum(length[rows], 1)[:, None]
        scores *= np.exp(np.minimum(0.0, too_short))  # brevity penalty
        scores[no_word_in_common] = 0.0
        bleu[rows, columns] = scores
    return bleu


class _Common:
    """Counts of common n-grams of one order, for blocks of rows and columns."""

    def __init__(self, grams: sp.csr_array) -> None:
        count = grams.shape[0]
        texts_with = np.bincount(grams.indices, minlength=grams.shape[1])
        by_gram = grams.tocsc()
        is_frequent = texts_with > count * _DENSE_SHARE
        self._frequent = by_gram[:, is_frequent].toarray()
        self._rare = by_gram[:, (texts_with > 1) & ~is_frequent].tocsr()
        self._alone = np.asarray(by_gram[:, (texts_with == 1) & ~is_frequent].sum(axis=1)).ravel()

    def counts(self, rows: slice, columns: slice) -> NDArray[np.float64]:
        """float64[rows, columns], whole numbers."""
        matches = self._frequent[rows] @ self._frequent[columns].T  # counts stay far below 2**24: float32 is exact
        matches += (self._rare[rows] @ self._rare[columns].T).toarray()
        row = np.arange(rows.stop - rows.start)
        matches[row, row + rows.start - columns.start] += self._alone[rows]  # common only with the text itself
        counts: NDArray[np.float64] = matches.astype(np.float64)
        return counts


def _ngram_indicators(texts: Sequence[Sequence[str]]) -> list[sp.csr_array]:
    """Per order a 0/1 matrix [U, features]; a feature is the k-th occurrence of an n-gram in a text."""
    vocabulary: dict[str, int] = {}
    word = np.array([vocabulary.setdefault(token, len(vocabulary)) for text in texts for token in text], dtype=np.int64)
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    gram = word
    matrices = []
    for order in range(1, _ORDERS + 1):
        if order > 1:
            # Extend each (n-1)-gram by the word after it, where both stand in one text.
            inside = owner[: len(gram) - 1] == owner[order - 1 :] if len(gram) > 1 else np.zeros(0, dtype=np.bool_)
            pairs = gram[:-1] * len(vocabulary) + word[order - 1 :] if len(gram) > 1 else gram[:0]
            pairs = np.where(inside, pairs, -1)
            gram = np.unique(pairs, return_inverse=True)[1]
            valid = inside
        else:
            valid = np.ones(len(gram), dtype=np.bool_)
        matrices.append(_indicator(owner[: len(gram)][valid], gram[valid], len(texts)))
    return matrices


def _indicator(owner: NDArray[np.int64], gram: NDArray[np.int64], count: int) -> sp.csr_array:
    order = np.lexsort((gram, owner))
    owner, gram = owner[order], gram[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(owner) != 0) | (np.diff(gram) != 0)]) if len(gram) else gram
    run_length = np.diff(np.r_[starts, len(gram)])
    occurrence = np.arange(len(gram)) - np.repeat(starts, run_length)
    keys = gram * (int(occurrence.max(initial=0)) + 1) + occurrence
    names, column = np.unique(keys, return_inverse=True)
    return sp.csr_array((np.ones(len(keys), dtype=np.float32), (owner, column)), shape=(count, len(names)))


def _mirror_upper(matrix: NDArray[np.float64]) -> None:
    """Copy the upper triangle onto the lower one and clear the diagonal, in place."""
    for start in range(0, len(matrix), _ROWS):
        stop = start + _ROWS
        square = np.triu(matrix[start:stop, start:stop], 1)
        matrix[start:stop, start:stop] = square + square.T
        matrix[stop:, start:stop] = matrix[start:stop, stop:].T
