"""What `sampling.wait_for` saves: a batch of answers with and without its last ones, by turns, on the same engines.

    python benchmarks/stragglers.py <base/model/model of a run of model=smollm2> [--answers 128] [--repeats 5]
                                    [key=value ...]

Predicted is when that share had ended of the batches that were waited for, as benchmarks/scale.py predicts it.
"""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from verl_rzero import settings
from verl_rzero.engine import environment
from verl_rzero.english_sums import benchmark, grammar
from verl_rzero.rules.prompts import render, voter_messages

SHARES = (1.0, 0.95, 0.9)


async def measured(asked: settings.Settings, model: str, answers: int, repeats: int, here: Path) -> None:
    """Print a row for each share: seconds, their ratio to waiting for all, and what was cut off."""
    from verl_rzero.engine import asking, engines

    engine = await engines.started(asked, model, here)
    questions = [text for kind in grammar.KINDS for text in benchmark.draw(kind, answers // 8 // len(grammar.KINDS), 0)]
    questions += benchmark.draw("story", answers // 8 - len(questions), 1, without=questions)
    prompts = [render(engine.tokenizer, voter_messages(asked.prompts, text, False)) for text in questions] * 8
    sampling = asking.parameters(asked.sampling.votes, asked.model.answer_tokens)

    async def batch(share: float) -> tuple[list[float], float, float]:
        """When its answers had ended, the share that did not by itself, and tokens of an answer."""
        begun, ends, samples = time.perf_counter(), [], []
        async for ended in engine.sample(prompts, sampling, None, share):
            ends += [time.perf_counter() - begun] * len(ended)
            samples += ended
        return ends, 1 - statistics.mean(each.finished for each in samples), _mean([len(each.ids) for each in samples])

    await batch(1.0)  # what a first batch makes once
    taken: dict[float, list[tuple[list[float], float, float]]] = {share: [] for share in SHARES}
    for _ in range(repeats):
        for share in SHARES:
            taken[share].append(await batch(share))
    whole = statistics.median(ends[-1] for ends, _, _ in taken[1.0])
    print(f"{len(prompts)} answers, {repeats} batches of each kind")
    for share in SHARES:
        seconds = [ends[-1] for ends, _, _ in taken[share]]
        predicted = statistics.median(ends[round(share * len(ends)) - 1] / ends[-1] for ends, _, _ in taken[1.0])
        print(
            f"wait_for={share:<4} {statistics.median(seconds):6.2f} s [{min(seconds):.2f}, {max(seconds):.2f}], "
            f"{statistics.median(seconds) / whole:.2f} of all's, predicted {predicted:.2f}; not ended "
            f"{_mean([cut for _, cut, _ in taken[share]]):.3f}, {_mean([n for _, _, n in taken[share]]):.1f} tokens"
        )


def _mean(values: Sequence[float]) -> float:
    return statistics.mean(values)


def main() -> None:
    """Start the engines and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--answers", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    asked = settings.load(["model=smollm2", *args.overrides])
    os.environ |= environment.variables(asked) | os.environ
    with environment.temporary_files(asked) as here:
        asyncio.run(measured(asked, args.model, args.answers, args.repeats, here))


if __name__ == "__main__":
    main()
