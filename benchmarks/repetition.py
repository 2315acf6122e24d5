"""All-pairs BLEU distances and clusters: ours against nltk and scikit-learn, one pair after the other.

    python benchmarks/repetition.py                  # plain way measured at 512, scaled by pairs to the rest
    python benchmarks/repetition.py --plain 2048     # plain way measured at 2048 (about 8 minutes)

Each measurement runs in a process of its own. Seconds are processor seconds (of all threads), which other work on the
machine changes little; memory is the process's peak, imports included.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

THRESHOLD = 0.5


def questions(count: int, seed: int = 0) -> list[str]:
    """Made-up questions of 30 to 110 words with natural word frequencies, a fifth of them near-duplicates."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, 3001)
    words = np.array([f"w{k}" for k in range(3000)])
    made = [" ".join(rng.choice(words, rng.integers(30, 110), p=frequency / frequency.sum())) for _ in range(count)]
    for i in range(0, count, 5):
        made[i] = f"{made[rng.integers(count)]} {rng.choice(words)}"
    return made


def ours(batch: list[str]) -> np.ndarray:
    from verl_rzero.rules.repetition import cluster_shares

    return cluster_shares(batch, THRESHOLD)


def plain(batch: list[str]) -> np.ndarray:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from sklearn.cluster import AgglomerativeClustering

    smooth = SmoothingFunction().method1
    split = [question.split() for question in batch]
    distances = np.zeros((len(batch), len(batch)))
    for i, hypothesis in enumerate(split):
        for j in range(i + 1, len(split)):
            bleu = sentence_bleu([split[j]], hypothesis, smoothing_function=smooth)
            distances[i, j] = distances[j, i] = 1 - bleu
    model = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=THRESHOLD
    )
    labels = model.fit_predict(distances)
    shares: np.ndarray = np.bincount(labels)[labels] / len(labels)
    return shares


WAYS = {"ours": ours, "plain": plain}


def measure_here(way: str, count: int) -> None:
    batch = questions(count)
    WAYS[way](batch[:8])  # imports are not what is measured
    start = time.process_time()
    shares = WAYS[way](batch)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "shares": shares.tolist()}))


def measure(way: str, count: int) -> dict:
    command = [sys.executable, __file__, "--here", way, str(count)]
    result: dict = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--plain", type=int, default=512, help="number of questions at which the plain way is measured")
    parser.add_argument("--here", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        measure_here(arguments.here[0], int(arguments.here[1]))
        return
    base = measure("plain", arguments.plain)
    same = measure("ours", arguments.plain)["shares"] == base["shares"]
    print(f"equal shares at B={arguments.plain}: {same}\n")
    print(f"{'B':>6} {'ours s':>8} {'ours MiB':>9} {'plain s':>9} {'':>9} {'ratio':>7}")
    for count in arguments.sizes:
        result = measure("ours", count)
        pairs = count * (count - 1) / (arguments.plain * (arguments.plain - 1))
        seconds = base["seconds"] * pairs
        how = "measured" if count == arguments.plain else "scaled"
        ratio = seconds / result["seconds"]
        print(
            f"{count:>6} {result['seconds']:>8.2f} {result['peak_mib']:>9.0f} {seconds:>9.1f} {how:>9} {ratio:>6.0f}x"
        )


if __name__ == "__main__":
    main()
