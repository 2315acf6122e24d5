"""R-Zero on the tiny world in one process, by the product's own rules for votes, curation, rewards and training rows.

Only sampling and the update are written anew (fast_model.py, grpo.py), in plain PyTorch on one thread. An idea is a
subclass of `Loop` that changes a step of it; the truth is read for the report alone.
"""

import json
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import grpo
import torch
from fast_model import END, Ids, Weights, copied, load, sample, save

from verl_rzero import settings
from verl_rzero.data import records
from verl_rzero.data.outputs import label_accuracy
from verl_rzero.data.records import SolverRow, VotedQuestion
from verl_rzero.engine.asking import Reply, question, voted
from verl_rzero.engine.batch_rewards import UncertaintyLessRepetition
from verl_rzero.grading.grader import Grader, Tally, same_answer
from verl_rzero.rules import curation, solver_data
from verl_rzero.rules.answers import last_boxed, question_block
from verl_rzero.rules.prompts import Messages, challenger_messages, render, solver_messages
from verl_rzero.rules.voting import vote
from verl_rzero.settings import SamplingOf
from verl_rzero.tiny_world import benchmark, task
from verl_rzero.tiny_world.tokenizer import make_tokenizer

Agreements = list[float]


class Loop:
    """One run: `rounds` rounds from a base model, a line of numbers each in out/rounds.jsonl.

    Args:
        base: directory of the base model.
        seed: of everything that is drawn, and of the benchmark.
        out: gets rounds.jsonl, and of each round the votes and the Solver's weights.
        overrides: settings of the product, as on its command line.
    """

    reason: ClassVar[str] = "the paper's method"
    overrides: ClassVar[tuple[str, ...]] = ()
    """Settings of the product that make the idea, or a part of it."""

    def __init__(self, base: Path, seed: int, out: Path, overrides: Sequence[str] = ()) -> None:
        self.settings = settings.load(["model=tiny", "hardware=cpu", f"seed={seed}", *self.overrides, *overrides])
        self.out, self.seed = out, seed
        self.tokenizer, self.grader = make_tokenizer(), Grader(self.settings.grading.timeout_s)
        self.random = random.Random(f"rising {seed}")
        self.generator = torch.Generator().manual_seed(seed)
        self.base = load(base)
        self.challenger, self.solver = copied(self.base), copied(self.base)
        self.solvers: list[Weights] = [self.solver]
        """S(0), the base model, to the newest."""
        self.kept: list[VotedQuestion] = []
        """Of all rounds before."""
        self.round, self.answers = 0, 0
        self.benchmark = benchmark.draw(500, seed)

    def run(self, rounds: int) -> None:
        """All rounds, one after the other; `out` must not exist."""
        self.out.mkdir(parents=True)
        self._report({"round": 0, **self.evaluated()})
        for self.round in range(1, rounds + 1):
            started, before = time.monotonic(), self.answers
            self.train_challenger()
            asked = self.questions()
            votes = self.votes(asked)
            kept = self.curated(votes)
            rows = self.rows(kept)
            self.solver = self.after(self.trained(rows))
            self.solvers.append(self.solver)
            self.kept += kept
            numbers = {"round": self.round, "asked": len(asked), "answers": self.answers - before}
            numbers |= described(votes, kept) | self.evaluated()
            self._report(numbers | {"seconds": round(time.monotonic() - started, 1)})
            records.write(self.out / f"votes_{self.round}.parquet", votes, VotedQuestion)
            save(self.solver, self.out / f"solver_{self.round}.safetensors")

    def train_challenger(self) -> None:
        """GRPO on uncertainty less repetition."""
        job = self.settings.challenger
        judge = UncertaintyLessRepetition(job, self.seed)
        prompt = self.ids(challenger_messages(self.settings.prompts))
        trainer = grpo.Trainer(self.challenger, self.base if job.reference == "base" else self.challenger, job)
        for step in range(1, job.steps + 1):
            prompts = [prompt] * (job.batch_size * job.rollouts)
            responses = self.sampled(trainer.weights, prompts, self.settings.model.question_tokens, job)
            texts = [question_block(self.text(response)) for response in responses]
            agreements = iter(self.agreements([text for text in texts if text is not None]))
            known = [None if text is None else next(agreements) for text in texts]
            rows = {
                "question": [text or "" for text in texts],
                "well_formed": [text is not None for text in texts],
                "agreement": [float("nan") if each is None else each for each in known],
                "answered": [0.0] * len(texts),
            }
            reward_B = judge(rows, step).reward_B
            trainer.step(prompts, responses, grpo.advantages(reward_B, job.rollouts))
        self.challenger = copied(trainer.weights)

    def agreements(self, texts: Sequence[str]) -> Agreements:
        """What the Challenger is rewarded by, for each well-formed question of a step."""
        answers = self.answered(self.solver, texts, self.settings.votes)
        return [vote(each).agreement for each in answers]

    def questions(self) -> list[records.Question]:
        asked, prompt = self.settings, self.ids(challenger_messages(self.settings.prompts))
        replies = self.sampled(
            self.challenger, [prompt] * asked.candidates, asked.model.question_tokens, asked.sampling.questions
        )
        made = [question(i, self.round, self.text(reply), 0, "challenger") for i, reply in enumerate(replies)]
        return [item for item in made if item.well_formed]

    def votes(self, asked: Sequence[records.Question]) -> list[VotedQuestion]:
        """The dataset's votes."""
        texts = [str(item.question) for item in asked]
        return self.counted(asked, self.answered(self.solver, texts, self.settings.votes_of_dataset))

    def counted(self, asked: Sequence[records.Question], answers: Sequence[list[str | None]]) -> list[VotedQuestion]:
        """The vote of these answers to each question."""
        return [
            voted(self.settings, item, [_reply(answer) for answer in each], 0, "solver", Tally(self.grader), task.truth)
            for item, each in zip(asked, answers, strict=True)
        ]

    def curated(self, votes: Sequence[VotedQuestion]) -> list[VotedQuestion]:
        earlier = [item.question for item in self.kept]
        return curation.curate(votes, **curation.rules(self.settings), earlier=earlier).kept

    def rows(self, kept: Sequence[VotedQuestion]) -> list[SolverRow]:
        """What the Solver is trained on."""
        new, earlier = (solver_data.kept_rows(self.settings, each) for each in (kept, self.kept))
        return solver_data.mixed(self.settings, new, earlier, [], self.round)

    def trained(self, rows: Sequence[SolverRow]) -> Weights:
        """The Solver after GRPO on the rows; as it was where there are none."""
        job = self.settings.solver
        trainer = grpo.Trainer(self.solver, self.base if job.reference == "base" else self.solver, job)
        batches = self._batches(list(rows))
        for _ in range(self.steps(rows)):
            batch = [row for row in next(batches) for _ in range(job.rollouts)]
            prompts = [self.ids(row.prompt) for row in batch]
            responses = self.sampled(trainer.weights, prompts, self.settings.model.answer_tokens, job)
            rewards = [self.reward(row, self.boxed(reply)) for row, reply in zip(batch, responses, strict=True)]
            trainer.step(prompts, responses, self.advantages(batch, rewards))
        return copied(trainer.weights)

    def steps(self, rows: Sequence[SolverRow]) -> int:
        """GRPO steps on these rows."""
        return self.settings.solver.steps if rows else 0

    def reward(self, row: SolverRow, answer: str | None) -> float:
        return float(answer is not None and same_answer(answer, row.reward_model["ground_truth"]))

    def advantages(self, batch: Sequence[SolverRow], rewards: Sequence[float]) -> torch.Tensor:
        return grpo.advantages(rewards, self.settings.solver.rollouts)

    def after(self, trained: Weights) -> Weights:
        """The round's Solver: what was trained, and of its start as much as solver.towards_start says."""
        share = self.settings.solver.towards_start
        return {name: weight.lerp(self.solver[name], share) for name, weight in trained.items()}

    def answered(
        self, weights: Weights, texts: Sequence[str], n: int, sampling: SamplingOf | None = None
    ) -> list[list[str | None]]:
        """n answers of a Solver to each question."""
        prompts = [self.ids(solver_messages(self.settings.prompts, text)) for text in texts for _ in range(n)]
        asked = self.settings
        replies = self.sampled(weights, prompts, asked.model.answer_tokens, sampling or asked.sampling.votes)
        self.answers += len(replies)
        answers = [self.boxed(reply) for reply in replies]
        return [answers[first : first + n] for first in range(0, len(answers), n)]

    def evaluated(self) -> dict[str, float]:
        """Greedy and sampled accuracy on the held-out benchmark."""
        before = self.answers
        greedy = [each[0] for each in self.answered(self.solver, self.benchmark, 1, _GREEDY)]
        sampled = self.answered(self.solver, self.benchmark, self.settings.evaluation.k)
        self.answers = before
        truths = [task.truth(text) for text in self.benchmark]
        return {
            "greedy": statistics.mean(_right(a, b) for a, b in zip(greedy, truths, strict=True)),
            "sampled": statistics.mean(_right(a, b) for each, b in zip(sampled, truths, strict=True) for a in each),
        }

    def sampled(self, weights: Weights, prompts: Sequence[Ids], tokens: int, sampling: Any) -> list[Ids]:
        return sample(weights, prompts, tokens, self.generator, sampling.temperature, sampling.top_p)

    def ids(self, messages: Messages) -> Ids:
        return render(self.tokenizer, messages)

    def text(self, reply: Ids) -> str:
        return str(self.tokenizer.decode(reply, skip_special_tokens=True))

    def boxed(self, reply: Ids) -> str | None:
        return last_boxed(self.text(reply)) if reply[-1] == END else None

    def _batches(self, rows: list[SolverRow]) -> Any:
        """Batches without end, the rows in a new order whenever all have been used; the last of them too few are left
        out, as verl's data loader does.
        """
        size = self.settings.solver.batch_size
        rows = solver_data.copied(rows, size)
        while True:
            self.random.shuffle(rows)
            yield from (rows[first : first + size] for first in range(0, len(rows) - size + 1, size))

    def _report(self, numbers: dict[str, Any]) -> None:
        with (self.out / "rounds.jsonl").open("a") as file:
            file.write(json.dumps(numbers) + "\n")


_GREEDY = SamplingOf(temperature=0.0, top_p=1.0, top_k=-1)


def _right(answer: str | None, truth: str | None) -> bool:
    return answer is not None and truth is not None and same_answer(answer, truth)


def _reply(answer: str | None) -> Reply:
    return Reply("" if answer is None else f"\\boxed{{{answer}}}", answer is not None)


def rounds_of(directory: Path, idea: str, seed: int) -> list[dict[str, Any]]:
    """What a run has reported, the base model first; nothing where there is no such run."""
    path = directory / f"{idea}_{seed}" / "rounds.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def described(votes: Sequence[VotedQuestion], kept: Sequence[VotedQuestion]) -> dict[str, Any]:
    """What the questions and labels of a round are like; reads the truth."""
    inside = [task.in_grammar(item.question) for item in votes]
    return {
        "kept": len(kept),
        "kept_share": len(kept) / max(1, len(votes)),
        "agreement": statistics.mean(item.agreement for item in votes),
        "labels_right": label_accuracy(list(votes)),
        "kept_labels_right": label_accuracy(list(kept)),
        "in_grammar": statistics.mean(inside),
        "additions": statistics.mean(item.question.count("+") for item in votes),
    }
