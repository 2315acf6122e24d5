"""A round's questions through voting, files, curation and export, for growing numbers of them: seconds and memory.

    python benchmarks/load.py [1000 4000 16000 64000] [chars=1500] [votes=10]

An engine that only hands over made-up replies (benchmarks/voting.py's answers at the end of `chars` characters of text)
stands in for vLLM; all else is what a run does: `asking.votes` with its parts on the disk, `records`, `curation`, the
Solver's rows, an export's files. Each number of questions has a process of its own.
"""

import asyncio
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import voting

from verl_rzero import settings
from verl_rzero.base.progress import Progress
from verl_rzero.data import records
from verl_rzero.data.outputs import votes_in
from verl_rzero.data.parts import Parts
from verl_rzero.engine import asking
from verl_rzero.publish import export_run
from verl_rzero.rules import curation, solver_data

AT_ONCE = 64
"""Replies that end at the same time."""


class Tokenizer:
    def apply_chat_template(self, *_: Any, **__: Any) -> list[int]:
        return [1]


class Engine:
    """Hands over the replies that it was made with."""

    tokenizer = Tokenizer()

    def __init__(self, answers_QN: Sequence[Sequence[str | None]], chars: int) -> None:
        rng = random.Random(0)
        words = ["".join(rng.choices("aeinorst", k=rng.randint(2, 9))) for _ in range(5000)]
        self.thought = " ".join(rng.choices(words, k=chars // 3))
        self.chars, self.answers = chars, [answer for row in answers_QN for answer in row]

    async def sample(self, prompts: Sequence[Any], *_: Any) -> AsyncIterator[list[SimpleNamespace]]:
        for first in range(0, len(prompts), AT_ONCE):
            await asyncio.sleep(0)
            yield [SimpleNamespace(prompt=i, finished=True) for i in range(first, min(first + AT_ONCE, len(prompts)))]

    def text(self, sample: SimpleNamespace) -> str:
        start = sample.prompt * 7 % (len(self.thought) - self.chars)
        answer = self.answers[sample.prompt]
        return self.thought[start : start + self.chars] + ("" if answer is None else rf" \boxed{{{answer}}}")


def main(count: int, chars: int, votes: int) -> dict[str, float]:
    """Seconds of each part for so many questions, and the most memory that it took."""
    found: dict[str, float] = {"questions": count}

    @contextmanager
    def timed(name: str) -> Any:
        begin = time.monotonic()
        yield
        found[name] = round(time.monotonic() - begin, 1)

    answers_QN, _ = voting.questions(count, votes)
    asked = settings.load([f"candidates={count}", f"votes={votes}", "band=[0.3,0.8]"])
    questions = [asking.question(i, 1, f"<question>What is number {i}?</question>", i, "c") for i in range(count)]
    engine = Engine(answers_QN, chars)
    with TemporaryDirectory() as directory:
        run = Path(directory)
        for stage in ("questions", "votes", "curation"):
            (run / "round_1" / stage).mkdir(parents=True)
        here = run / "round_1/votes"
        records.write(run / "round_1/questions/questions.parquet", questions, records.Question)
        with timed("voting"):
            parts = Parts(here, records.VotedQuestion, "model")
            work = asking.votes(asked, engine, "model", questions, None, Progress(here, count * votes, "answer"), parts)
            voted, _ = asyncio.run(work)
        with timed("votes.parquet"):
            records.write(here / "votes.parquet", parts.in_order([v.id for v in voted]), records.VotedQuestion)
        del voted, parts
        with timed("curation"):
            read = votes_in(here)
            curated = curation.curate(read, **curation.rules(asked))
            records.write(
                run / "round_1/curation/decisions.parquet", curation.decisions(read, curated), records.Decision
            )
            rows = solver_data.kept_rows(asked, curated.kept)
            records.write(run / "round_1/curation/solver_train.parquet", rows, records.SolverRow)
        del read, curated, rows
        with timed("export"):
            (run / "out").mkdir()
            export_run._write_votes(run / "round_1", run / "out/round_1.parquet")
        found["MB on disk"] = round(sum(path.stat().st_size for path in run.rglob("*.parquet")) / 1e6, 1)
    found["MB at most"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 0)
    return found


if __name__ == "__main__":
    given = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
    counts = [int(word) for word in sys.argv[1:] if "=" not in word] or [1000, 4000, 16_000, 64_000]
    chars, votes = int(given.get("chars", 1500)), int(given.get("votes", 10))
    if "only" in given:
        print(json.dumps(main(counts[0], chars, votes)))
        sys.exit()
    for count in counts:
        command = [sys.executable, __file__, str(count), f"chars={chars}", f"votes={votes}", "only=1"]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        print("  ".join(f"{name} {value:g}" for name, value in found.items()), flush=True)
