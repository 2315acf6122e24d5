"""What was tried so that the Solver keeps rising: each idea changes a step of the loop, and gives its reason.

None reads the truth but the bounds, which say what a perfect filter and perfect labels would be worth.
"""

import dataclasses
from collections.abc import Sequence

import torch
from fast_model import Weights, copied, log_probs
from loop import Agreements, Loop

from verl_rzero.data.records import Question, SolverRow, VotedQuestion
from verl_rzero.grading.grader import same_answer
from verl_rzero.rules.prompts import challenger_messages
from verl_rzero.rules.voting import vote
from verl_rzero.tiny_world import task


class TruthFilter(Loop):
    reason = "bound: wrong labels are dropped, by the truth"

    def curated(self, votes: Sequence[VotedQuestion]) -> list[VotedQuestion]:
        return [item for item in super().curated(votes) if item.label == item.truth]


class TruthLabels(Loop):
    reason = "bound: the paper's questions with true labels; those without a truth are dropped"

    def curated(self, votes: Sequence[VotedQuestion]) -> list[VotedQuestion]:
        kept = super().curated(votes)
        return [dataclasses.replace(item, label=item.truth) for item in kept if item.truth is not None]


class TwoPasses(Loop):
    reason = "the fewer questions are kept, the more often each is learned from: at most two passes"
    passes = 2

    def steps(self, rows: Sequence[SolverRow]) -> int:
        return min(super().steps(rows), -(-self.passes * len(rows) // self.settings.solver.batch_size))


class EightPasses(TwoPasses):
    reason = "twice the steps made one Solver fall in a round in which it went over few questions 17 times"
    passes = 8


class AskedBefore(Loop):
    reason = (
        "no cure but a price: what a round trains on is asked and voted on while the Solver trains in the round "
        "before, by the Challenger and the Solver that are there then"
    )

    def run(self, rounds: int) -> None:
        self.asked_before: tuple[list[Question], list[VotedQuestion]] | None = None
        super().run(rounds)

    def harvested(self) -> tuple[list[Question], list[VotedQuestion]]:
        asked = super().questions()
        return asked, super().votes(asked)

    def questions(self) -> list[Question]:
        self.of_round = self.asked_before or self.harvested()
        self.asked_before = self.harvested()
        return self.of_round[0]

    def votes(self, asked: Sequence[Question]) -> list[VotedQuestion]:
        return self.of_round[1]


class FreshChallenger(Loop):
    reason = "a Challenger that starts from the base in each round cannot drift over rounds"

    def train_challenger(self) -> None:
        self.challenger = copied(self.base)
        super().train_challenger()


class PositiveOnly(Loop):
    reason = "a wrong label also punishes the right answer; drop what punishes"

    def advantages(self, batch: Sequence[SolverRow], rewards: Sequence[float]) -> torch.Tensor:
        return super().advantages(batch, rewards).clamp(min=0.0)


class Weighted(Loop):
    reason = "a label weighs as much as its majority is clear: advantages times agreement"

    def advantages(self, batch: Sequence[SolverRow], rewards: Sequence[float]) -> torch.Tensor:
        share_B = torch.tensor([row.extra_info["agreement"] for row in batch])
        return super().advantages(batch, rewards) * share_B


class SoftVotes(Loop):
    reason = "an answer is worth the share of the votes that gave it: where the vote is split, little is reversed"

    def rows(self, kept: Sequence[VotedQuestion]) -> list[SolverRow]:
        self.shares = {item.question: _shares(item) for item in [*self.kept, *kept]}
        return super().rows(kept)

    def reward(self, row: SolverRow, answer: str | None) -> float:
        question = row.prompt[-1]["content"].removeprefix(task.SOLVE)
        return self.shares[question].get(str(answer), 0.0)


class Committee(Loop):
    reason = "what a round has got wrong its predecessors may know: the votes are shared among the last three Solvers"
    voters = 3

    def votes(self, asked: Sequence[Question]) -> list[VotedQuestion]:
        texts, solvers = [str(item.question) for item in asked], self.solvers[-self.voters :]
        each, rest = divmod(self.settings.votes_of_dataset, len(solvers))
        parts = [self.answered(solver, texts, each + (place < rest)) for place, solver in enumerate(reversed(solvers))]
        return self.counted(asked, [sum(answers, []) for answers in zip(*parts, strict=True)])


class Confirmed(Loop):
    reason = "a label counts only if the base model's majority is the same: 5 votes each"

    def second(self, texts: Sequence[str], n: int) -> list[list[str | None]]:
        """n answers each that have to confirm the Solver's."""
        return self.answered(self.base, texts, n)

    def votes(self, asked: Sequence[Question]) -> list[VotedQuestion]:
        texts, half = [str(item.question) for item in asked], self.settings.votes_of_dataset // 2
        pairs = list(zip(self.answered(self.solver, texts, half), self.second(texts, half), strict=True))
        self.confirmed = {text for text, pair in zip(texts, pairs, strict=True) if self.same_majority(*pair)}
        return self.counted(asked, [one + other for one, other in pairs])

    def same_majority(self, one: Sequence[str | None], other: Sequence[str | None]) -> bool:
        label, again = vote(one).label, vote(other).label
        return label is not None and again is not None and same_answer(label, again)

    def curated(self, votes: Sequence[VotedQuestion]) -> list[VotedQuestion]:
        return [item for item in super().curated(votes) if item.question in self.confirmed]


class ConfirmedBefore(Confirmed):
    reason = "a label counts only if the Solver before the last has the same majority: 5 votes each"

    def second(self, texts: Sequence[str], n: int) -> list[list[str | None]]:
        return self.answered(self.solvers[max(0, len(self.solvers) - 2)], texts, n)


class Views(Confirmed):
    reason = "the majority must survive another wording, here the terms the other way round (co-rewarding)"

    def second(self, texts: Sequence[str], n: int) -> list[list[str | None]]:
        return self.answered(self.solver, ["+".join(reversed(text.split("+"))) for text in texts], n)


class Adaptive(Loop):
    reason = "more answers where the lead is thin: 5, and 10 more where the first two are less than 3 apart"

    def votes(self, asked: Sequence[Question]) -> list[VotedQuestion]:
        texts = [str(item.question) for item in asked]
        answers = self.answered(self.solver, texts, 5)
        thin = [i for i, each in enumerate(answers) if _lead(each) < 3]
        for i, more in zip(thin, self.answered(self.solver, [texts[i] for i in thin], 10), strict=True):
            answers[i] = answers[i] + more
        return self.counted(asked, answers)


class VotedAgain(Loop):
    reason = "questions of earlier rounds come back with the votes of all rounds added up: old votes outweigh new rot"

    def run(self, rounds: int) -> None:
        self.history: dict[str, list[str | None]] = {}
        super().run(rounds)

    def rows(self, kept: Sequence[VotedQuestion]) -> list[SolverRow]:
        old = [item for item in self.kept if item.question in self.history]
        old = old[max(0, len(old) - len(kept)) :]
        answers = self.answered(self.solver, [item.question for item in old], 5)
        for item, more in zip(old, answers, strict=True):
            self.history[item.question] += more
        again = [
            dataclasses.replace(item, label=counted.label, agreement=counted.agreement)
            for item in old
            if (counted := vote(self.history[item.question])).label is not None and 0.25 <= counted.agreement <= 0.9
        ]
        self.history |= {item.question: list(item.answers) for item in kept}
        return super().rows([*kept, *again])


class FromBase(Loop):
    reason = "each round trains the base model anew on all labels so far, so that errors do not add up in the weights"
    overrides = ("solver.steps=30",)

    def trained(self, rows: Sequence[SolverRow]) -> Weights:
        newest, self.solver = self.solver, self.base
        trained = super().trained(rows)
        self.solver = newest
        return trained

    def rows(self, kept: Sequence[VotedQuestion]) -> list[SolverRow]:
        return super().rows([*self.kept, *kept])


class Ladder(Loop):
    reason = "difficulty rises only as fast as agreement allows: the Challenger is trained only while it is above .6"
    least = 0.6

    def run(self, rounds: int) -> None:
        self.last = 1.0
        super().run(rounds)

    def train_challenger(self) -> None:
        if self.last >= self.least:
            super().train_challenger()

    def votes(self, asked: Sequence[Question]) -> list[VotedQuestion]:
        votes = super().votes(asked)
        self.last = sum(item.agreement for item in votes) / len(votes)
        return votes


class Typical(Loop):
    reason = (
        "labels rot on questions that the base model would not write: drop those whose least likely token is below "
        "what nine in ten of its own have"
    )
    quantile = 0.1

    def run(self, rounds: int) -> None:
        self.judge = self.base
        self.least = self.limit()
        super().run(rounds)

    def limit(self) -> float:
        """What a question's least likely token must have, by the judge's own questions."""
        asker, self.challenger = self.challenger, self.judge
        texts = [str(item.question) for item in self.questions()]
        self.challenger = asker
        return torch.tensor(self.least_likely(texts)).quantile(self.quantile).item()

    def curated(self, votes: Sequence[VotedQuestion]) -> list[VotedQuestion]:
        kept = super().curated(votes)
        return [item for item, typical in zip(kept, self.typical([q.question for q in kept]), strict=True) if typical]

    def typical(self, texts: Sequence[str]) -> list[bool]:
        return [share >= self.least for share in self.least_likely(texts)]

    def least_likely(self, texts: Sequence[str]) -> list[float]:
        """The judge's probability of each question's least likely token, the end of the block included."""
        if not texts:
            return []
        prompt = self.ids(challenger_messages(self.settings.prompts))
        blocks = [list(self.tokenizer(f"<question>{text}</question>")["input_ids"]) for text in texts]
        with torch.no_grad():
            return log_probs(self.judge, [prompt] * len(blocks), blocks).min(1).values.exp().tolist()


class PaidIfTypical(Typical):
    reason = "as typical, and the Challenger is paid for typical questions alone, the others cost no answers"

    def agreements(self, texts: Sequence[str]) -> Agreements:
        typical = self.typical(texts)
        known = iter(super().agreements([text for text, each in zip(texts, typical, strict=True) if each]))
        return [next(known) if each else 0.0 for each in typical]


class PaidIfTypicalOfSolver(PaidIfTypical):
    reason = "as paid_if_typical, but the round's Solver is the judge, which is served anyway"

    def train_challenger(self) -> None:
        self.judge = self.solver
        self.least = self.limit()
        super().train_challenger()


class OnlyPaidIfTypical(PaidIfTypical):
    reason = "as paid_if_typical, but nothing is dropped: is it enough to pay the Challenger so?"

    def curated(self, votes: Sequence[VotedQuestion]) -> list[VotedQuestion]:
        return Loop.curated(self, votes)


class PaidIfConfirmed(Confirmed):
    reason = "as confirmed, and the Challenger is paid only where the two majorities are the same"

    def agreements(self, texts: Sequence[str]) -> Agreements:
        half = self.settings.votes // 2
        pairs = zip(self.answered(self.solver, texts, half), self.second(texts, half), strict=True)
        return [vote(one + other).agreement if self.same_majority(one, other) else 0.0 for one, other in pairs]


def _lead(answers: Sequence[str | None]) -> int:
    sizes = [size for _, size in vote(answers).sizes] + [0, 0]
    return sizes[0] - sizes[1]


def _shares(item: VotedQuestion) -> dict[str, float]:
    """Answer -> share of the votes."""
    return {str(answer): item.answers.count(answer) / len(item.answers) for answer in {*item.answers} - {None}}


def with_settings(reason: str, *overrides: str, idea: type[Loop] = Loop) -> type[Loop]:
    """An idea that is settings alone, or another one with settings."""
    return type(idea.__name__, (idea,), {"reason": reason, "overrides": overrides})


SOUP = ("solver.towards_start=0.5",)
WIDE = ("band=[0.25,0.9]",)
NEAR_BASE = ("challenger.reference=base", "challenger.kl_times=3")
TRUSTED = ("challenger.uncertainty=zpd", "challenger.uncertainty_peak=0.75", "band=[0.5,0.9]")
REPLAY = ("curation.replay_share=0.5",)
OPEN_BAND = ("band=[0.5,1]",)
MORE = ("candidates=1000",)

ALL: dict[str, type[Loop]] = {
    "paper": Loop,
    "asked_before": AskedBefore,
    "truth_filter": TruthFilter,
    "truth_labels": TruthLabels,
    "trusted": with_settings(
        "pay the Challenger, and keep, where majorities are mostly right: agreement about .75, not .5 (Prism)", *TRUSTED
    ),
    "trusted_band": with_settings("as the paper asks, but keep only clear majorities", "band=[0.5,0.9]"),
    "wide": with_settings("the band of near_base_wide alone: is it the band or the place?", *WIDE),
    "near_base": with_settings(
        "the Challenger leaves the questions that it knows how to ask: hold it near the base model", *NEAR_BASE
    ),
    "near_base_weak": with_settings(
        "near_base at the recipe's own weight: is it the reference that matters?", "challenger.reference=base"
    ),
    "near_base_strong": with_settings(
        "near_base at ten times the weight: how much of it is too much?",
        "challenger.reference=base",
        "challenger.kl_times=10",
    ),
    "near_base_more": with_settings(
        "near_base keeps few questions in late rounds: ask for twice as many, for 1.3 times the answers",
        *NEAR_BASE,
        *MORE,
    ),
    "near_base_replay": with_settings(
        "near_base keeps few questions in late rounds: half of the rows from earlier ones", *NEAR_BASE, *REPLAY
    ),
    "near_base_open": with_settings("near_base and open_band", *NEAR_BASE, *OPEN_BAND),
    "near_base_two_passes": with_settings("near_base and two_passes", *NEAR_BASE, idea=TwoPasses),
    "near_base_committee": with_settings("near_base and committee", *NEAR_BASE, idea=Committee),
    "near_base_confirmed": with_settings("near_base and confirmed", *NEAR_BASE, idea=Confirmed),
    "near_base_soup": with_settings("near_base and soup", *NEAR_BASE, *SOUP),
    "near_base_quarter": with_settings(
        "near_base_soup learns at half the speed: a quarter of the weights before",
        *NEAR_BASE,
        "solver.towards_start=0.25",
    ),
    "near_base_wide": with_settings(
        "near_base keeps few questions in late rounds: agreements of .8 and .9 too, whose labels are mostly right and "
        "half of whose groups still have a gradient",
        *NEAR_BASE,
        *WIDE,
    ),
    "near_base_wide_longer": with_settings(
        "near_base_wide's labels are mostly right and its Solver still rises in round 6: learn twice as long from them",
        *NEAR_BASE,
        *WIDE,
        "solver.steps=30",
    ),
    "near_base_wide_longer_eight_passes": with_settings(
        "near_base_wide_longer and eight_passes", *NEAR_BASE, *WIDE, "solver.steps=30", idea=EightPasses
    ),
    "near_base_wide_longer_quarter": with_settings(
        "near_base_wide_longer is fast and once fell; a quarter of the weights before falls less and is slower",
        *NEAR_BASE,
        *WIDE,
        "solver.steps=30",
        "solver.towards_start=0.25",
    ),
    "near_base_wide_longer_quarter_eight_passes": with_settings(
        "near_base_wide_longer_quarter and eight_passes",
        *NEAR_BASE,
        *WIDE,
        "solver.steps=30",
        "solver.towards_start=0.25",
        idea=EightPasses,
    ),
    "near_base_wide_longer_more": with_settings(
        "as near_base_wide_longer, on twice as many questions",
        *NEAR_BASE,
        *WIDE,
        *MORE,
        "solver.steps=30",
    ),
    "near_base_wide_longer_replay": with_settings(
        "as near_base_wide_longer, half of the rows from earlier rounds: what was learned there is kept",
        *NEAR_BASE,
        *WIDE,
        *REPLAY,
        "solver.steps=30",
    ),
    "near_base_weak_wide_longer": with_settings(
        "as near_base_wide_longer, the Challenger held less: is the band enough?",
        "challenger.reference=base",
        *WIDE,
        "solver.steps=30",
    ),
    "near_base_typical_wide_longer": with_settings(
        "as near_base_wide_longer and paid_if_typical: its wrong labels are all outside of what the base model asks",
        *NEAR_BASE,
        *WIDE,
        "solver.steps=30",
        idea=PaidIfTypical,
    ),
    "near_base_weak_typical_wide_longer": with_settings(
        "the same held less: typical questions may be long, which near the base model few are",
        "challenger.reference=base",
        *WIDE,
        "solver.steps=30",
        idea=PaidIfTypical,
    ),
    "longer_quarter": with_settings(
        "the steps and the mean of near_base_wide_longer_quarter alone: without the place and the band?",
        "solver.steps=30",
        "solver.towards_start=0.25",
    ),
    "longer": with_settings("is it the steps? twice as many, the rest as the paper's", "solver.steps=30"),
    "near_base_wide_truth": with_settings(
        "bound: near_base_wide with true labels; how much is left to win by better ones?",
        *NEAR_BASE,
        *WIDE,
        idea=TruthLabels,
    ),
    "near_base_trusted": with_settings(
        "near_base and trusted: near the base model, an agreement of .75 is mostly right", *NEAR_BASE, *TRUSTED
    ),
    "near_base_weak_soup": with_settings("near_base_weak and soup", "challenger.reference=base", *SOUP),
    "near_base_typical": with_settings("near_base and paid_if_typical", *NEAR_BASE, idea=PaidIfTypical),
    "near_base_typical_more": with_settings(
        "near_base_more and paid_if_typical", *NEAR_BASE, *MORE, idea=PaidIfTypical
    ),
    "near_base_typical_soup": with_settings("near_base_typical and soup", *NEAR_BASE, *SOUP, idea=PaidIfTypical),
    "near_base_only_paid": with_settings("near_base and only_paid_if_typical", *NEAR_BASE, idea=OnlyPaidIfTypical),
    "both_near_base": with_settings("near_base and solver_near_base", *NEAR_BASE, "solver.reference=base"),
    "solver_near_base": with_settings(
        "what is learned from wrong labels adds up over rounds: hold the Solver near the base model",
        "solver.reference=base",
    ),
    "fresh_challenger": FreshChallenger,
    "more": with_settings("as many questions as near_base_more, without near_base", *MORE),
    "open_band": with_settings(
        "as the Solver masters what it is asked, the band keeps the rest alone; clear majorities are right and hold it "
        "where it is",
        *OPEN_BAND,
    ),
    "replay": with_settings(
        "half of the rows from earlier rounds, whose labels were better (R-Quest, R-Diverse)", *REPLAY
    ),
    "two_passes": TwoPasses,
    "half_steps": with_settings("less is learned from each round's labels", "solver.steps=8"),
    "positive_only": PositiveOnly,
    "weighted": Weighted,
    "soft_votes": SoftVotes,
    "soup": with_settings(
        "errors of different rounds differ: the Solver is the mean of the weights before and after", *SOUP
    ),
    "committee": Committee,
    "confirmed": Confirmed,
    "confirmed_before": ConfirmedBefore,
    "views": Views,
    "adaptive": Adaptive,
    "voted_again": VotedAgain,
    "from_base": FromBase,
    "ladder": Ladder,
    "typical": Typical,
    "paid_if_typical": PaidIfTypical,
    "paid_if_typical_of_solver": PaidIfTypicalOfSolver,
    "paid_if_typical_trusted": with_settings("paid_if_typical and trusted", *TRUSTED, idea=PaidIfTypical),
    "only_paid_if_typical": OnlyPaidIfTypical,
    "paid_if_confirmed": PaidIfConfirmed,
}
