"""Predicts how long a round of R-Zero with the paper's sizes takes on 1 to 512 GPUs, what limits, what would help.

    python benchmarks/scale.py

Nothing here was run on a GPU. FIGURES says of every number where it comes from; ASSUMED is a guess. docs/scale.md has
the results in words. A name that ends in _s is seconds; a pair is of Challenger and Solver where nothing else is said.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, partial
from heapq import heappop, heappush

import numpy as np

ASSUMED = "ASSUMED"
MODELS = {"Qwen3-4B": 4.02e9, "Qwen3-8B": 8.19e9}  # parameters; both have 36 layers and 8 KV heads of 128
GPUS = (1, 8, 64, 512)
LAST = 0.05
"""Share of a batch's answers that are its stragglers."""

# GPUStack: docs.gpustack.ai/latest/performance-lab/qwen3-8b/h100-latency; verl: github.com/verl-project/verl
# torchtitan: github.com/pytorch/torchtitan benchmarks/llama3_h100_202412_torchtitan.md; vLLM: github.com/vllm-project
# NCCL: docs.alayanew.com/en/docs/tech-blog/2026-05-06-nccl-tests; vLLM's blog: blog.vllm.ai/2025/10/26/sleep-mode.html
FIGURES = {  # name: (value, what it is, source)
    "flops": (989e12, "bfloat16 operations a second of an H100 SXM", "NVIDIA's data sheet"),
    "memory": (3.35e12, "bytes a second of its memory", "NVIDIA's data sheet"),
    "use": (0.30, "share of flops in training; torchtitan: 0.33 to 0.39 with FSDP2, 8B, full rows", ASSUMED),
    "decode_use": (0.6, "share of flops in decoding and in reading prompts", ASSUMED),
    "decode_s": (2.4e-3, "decoding step less reading the weights: 7.4 ms, Qwen3-8B, 4 requests, vLLM", "GPUStack"),
    "pair_s": (1e-3, "more where an engine has two GPUs", ASSUMED),
    "nvlink": (460e9, "bytes a second of NCCL in a machine of 8 H100", "docs.alayanew.com"),
    "network": (45e9, "bytes a second for each GPU between machines; 0.9 of 400 Gb/s", ASSUMED),
    "latency_s": (5e-6, "of a collective, for each GPU in it", ASSUMED),
    "sync_rate": (18e9, "bytes a second of verl's weight sync: 27B in 3.0 s", "verl pull request 7263"),
    "sync_s": (2.5, "fixed part of a sync: what is left of 3.5 s for 9B on 8 H800", "verl issue 7203"),
    "switch_s": (2.0, "an engine put to sleep and woken; vLLM's blog: woken in 0.1 to 0.4 s", ASSUMED),
    "engine_s": (60.0, "start of an engine less its weights; vLLM issue 20264: 59 s, its blog: 30 to 100", ASSUMED),
    "job_s": (60.0, "start of a training's processes; 45 to 60 on two cores (docs/performance.md)", ASSUMED),
    "disk": (2e9, "bytes a second of a machine from or to the shared disk", ASSUMED),
    "disk_all": (20e9, "bytes a second of all machines together", ASSUMED),
    "writer": (1e9, "bytes a second of verl's rank 0, which writes the portable model while all wait", ASSUMED),
    "update_s": (0.3, "optimizer, norm and calls of an update", ASSUMED),
    "row_s": (0.7e-3, "store and advantage of an answer; measured with 52 tokens", "docs/performance.md"),
    "grader": (1200.0, "answers a second of a grading worker", "docs/reliability.md, 16,000 questions"),
    "graders": (32, "grading workers of a machine", ASSUMED),
    "collector": (4200.0, "answers a second of the process that collects votes", "measured: benchmarks/load.py 500"),
    "rewards": (11200.0, "answers a second of verl's 8 reward workers", "docs/reliability.md"),
    "write_s": (1e-4, "parquet of an answer, for three times the measured text", "docs/reliability.md"),
    "penalty_s": (7.3 / 8192**2, "repetition penalty, times B squared", "docs/performance.md, B = 8,192"),
}
F = {name: value for name, (value, _, _) in FIGURES.items()}


@dataclass(frozen=True)
class Lengths:
    """Tokens of answers: lognormal, and a share that runs to the limit."""

    median: float
    sigma: float
    cut_off: float
    limit: int

    def draw(self, count: int) -> np.ndarray:
        rng = np.random.default_rng(0)
        tokens = np.clip(rng.lognormal(math.log(self.median), self.sigma, count), 1, self.limit)
        return np.where(rng.random(count) < self.cut_off, self.limit, tokens)


@dataclass(frozen=True)
class Sizes:
    """A round: the paper's sizes as in recipes/README.md. Tokens of texts, answers and prompts are ASSUMED."""

    steps: tuple[int, int] = (5, 15)
    answers: tuple[int, int] = (2048, 2560)  # of a step
    update: tuple[int, int] = (64, 640)  # answers of an update
    saves: tuple[int, int] = (3, 8)  # checkpoint_every=2
    votes: int = 10
    candidates: int = 8000
    evaluation: int = 17130  # the seven benchmarks of mathematics in docs/evaluation.md, greedy and k replies
    lengths: tuple[Lengths, Lengths] = (Lengths(500, 0.6, 0.02, 4096), Lengths(700, 0.6, 0.04, 4096))
    prompts: tuple[int, int] = (230, 160)


@dataclass(frozen=True)
class Machine:
    """Devices, and what a model takes on them. Each of b sequences in an engine gets a token in step_s + b * each_s."""

    gpus: int
    split: bool  # half of the GPUs serve the Solver while the Challenger trains; else both by turns
    per_engine: int
    at_once: tuple[int, int]  # sequences of an engine, of one that serves the Solver
    step_s: float
    each_s: float
    forward_s: float  # a token of training's forward pass on one GPU
    passes: tuple[float, float] = (6, 6)  # old and reference log-probabilities, update of 3, 1 for recomputation
    read_s: float = 0.0  # a token of a prompt on one GPU
    job_s: float = 0.0
    engine_s: float = 0.0
    sync_s: float = 0.0  # new weights, with sleep and wake
    update_s: float = 0.0
    exchange_s: float = 0.0  # weights gathered twice and gradients summed, for a micro-batch of 16,384 tokens
    row_s: float = 0.0
    grade: tuple[float, float] = (math.inf, math.inf)  # answers a second of one machine, of all
    save_s: tuple[float, float] = (0.0, 0.0)  # the portable model; what a stage could go on from


def h100(parameters: float, gpus: int, per_engine: int = 2) -> Machine:
    """H100s of 80 GB as recipes/hardware has them: one by turns, else half and half and two GPUs to an engine."""
    machines, split, per_engine = math.ceil(gpus / 8), gpus > 1, min(gpus, per_engine)
    trainers, weights, cache = gpus // 2 if split else gpus, 2 * parameters, 36 * 2 * 8 * 128 * 2  # bytes; of a token
    room = int((80e9 * (0.6 if split else 0.5) * per_engine - weights) / (cache * 1120))
    link = F["nvlink"] if trainers <= 8 else F["network"] * min(8, trainers / machines)
    disk, grade = min(machines * F["disk"], F["disk_all"]), min(F["collector"], F["graders"] * F["grader"])
    return Machine(
        gpus, split, per_engine, at_once=(min(256, room), min(1024, room)),
        step_s=F["decode_s"] + weights / F["memory"] / per_engine + F["pair_s"] * (per_engine > 1),
        each_s=(cache * 640 / F["memory"] + weights / F["flops"] / F["decode_use"]) / per_engine,
        forward_s=weights / F["flops"] / F["use"], read_s=weights / F["flops"] / F["decode_use"],
        job_s=F["job_s"], engine_s=F["engine_s"] + weights * machines / disk,
        sync_s=F["sync_s"] + weights / F["sync_rate"] + F["switch_s"] * (1 if split else 2),
        update_s=F["update_s"], row_s=F["row_s"], grade=(grade, machines * grade),
        exchange_s=(8 * parameters / link + 3 * 36 * trainers * F["latency_s"]) * (trainers > 1),
        save_s=(4 * parameters / F["writer"], 12 * parameters / disk),
    )  # fmt: skip


@dataclass(frozen=True)
class Switches:
    """What could be done about it; the last two are settings that there are."""

    keep_engines: bool = False  # those too that must be given new weights
    cut_stragglers: bool = False  # they end where they are and count as cut off
    harvest: bool = False  # next round's questions and votes on a share of the GPUs while the Solver trains on the rest
    spread_grading: bool = False  # votes of a stage are graded on all machines
    save_once: bool = False  # checkpoint_every=0
    by_turns: bool = False  # hardware.solver_gpus=0


PAPER, AS_IS = Sizes(), Switches()
Answers = tuple[np.ndarray, float]
"""When each ends, in seconds from the beginning of a batch, and the device seconds that engines work for it."""


def serve(arrivals_s: np.ndarray, tokens: np.ndarray, at_once: int, step_s: float, each_s: float) -> Answers:
    """Answers of one engine, first come first served; arrivals are in order."""
    ends_s, running, now, done, busy, i = np.zeros(len(tokens)), [], 0.0, 0.0, 0.0, 0
    while i < len(tokens) or running:
        while i < len(tokens) and len(running) < at_once and (arrivals_s[i] <= now or not running):
            now = max(now, arrivals_s[i])
            heappush(running, (done + tokens[i], i))
            i += 1
        token_s = step_s + each_s * len(running)
        until = now + (running[0][0] - done) * token_s
        if i < len(tokens) and len(running) < at_once and arrivals_s[i] < until:
            done, busy, now = done + (arrivals_s[i] - now) / token_s, busy + arrivals_s[i] - now, arrivals_s[i]
        else:
            done, number = heappop(running)
            busy, now, ends_s[number] = busy + until - now, until, until
    return ends_s, busy


def sample(machine: Machine, gpus: int, arrivals_s: np.ndarray, lengths: Lengths, serves: bool = False) -> Answers:
    """Answers dealt out in turn to the engines of so many GPUs."""
    order, tokens = np.argsort(arrivals_s, kind="stable"), lengths.draw(len(arrivals_s))
    engines, ends_s, busy = max(1, gpus // machine.per_engine), np.zeros(len(tokens)), 0.0
    for mine in (order[first::engines] for first in range(engines)):
        at_once, each = machine.at_once[serves], (machine.step_s, machine.each_s)
        ends_s[mine], worked = serve(arrivals_s[mine], tokens[mine], at_once, *each)
        busy += worked * machine.per_engine
    return ends_s, busy


@lru_cache
def batch(machine: Machine, gpus: int, count: int, lengths: Lengths) -> Answers:
    return sample(machine, gpus, np.zeros(count), lengths)


@lru_cache
def votes_of_step(machine: Machine, gpus: int, sizes: Sizes, cut: bool) -> Answers:
    """Votes begin with each question, on GPUs of their own, or by turns with the last question."""
    ends_s, _ = batch(machine, gpus, sizes.answers[0], sizes.lengths[0])
    last = np.quantile(ends_s, 1 - LAST if cut else 1)
    begins_s = np.minimum(ends_s, last) if machine.split else np.full(len(ends_s), last)
    return sample(machine, gpus, np.repeat(begins_s, sizes.votes), sizes.lengths[1], serves=True)


def sharing(gpus: int, update: int) -> int:
    """GPUs that can take part in an update: each gets as many whole answers as any other, which verl insists on."""
    return max(count for count in range(1, gpus + 1) if update % count == 0)


@dataclass
class Stage:
    """Seconds by what they go to; GPU seconds in which something runs, and those that it would take full engines."""

    name: str
    machine: Machine
    on: Switches
    parts: Counter = field(default_factory=Counter)
    busy: float = 0.0
    useful: float = 0.0

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())

    def start(self, job_s: float, takes_over: bool = False) -> None:
        """Processes, and engines: new ones, or those of the training before, which only need weights."""
        fresh, again = self.machine.engine_s, self.machine.sync_s
        self.parts["starts"] += job_s + (min(fresh, again) if takes_over or self.on.keep_engines else fresh)

    def go_on(self) -> None:
        """With the engines of the training before, as they are."""
        self.parts["starts"] += min(self.machine.engine_s, F["switch_s"])

    def sampled(
        self, answers: Answers, lengths: Lengths, times: int = 1, read: int = 0, after_s: float = -1.0
    ) -> float:
        """Counts a batch of answers with `read` tokens of prompts, and returns when it is over. With `after_s` they are
        votes, which may begin before.
        """
        (ends_s, busy), machine = answers, self.machine
        most, last = np.quantile(ends_s, 1 - LAST), ends_s.max()
        over = max(most if self.on.cut_stragglers else last, after_s)
        if after_s < 0:
            self.parts += Counter(sampling=times * most, stragglers=times * (over - most))
        else:
            self.parts["votes"] += times * (over - after_s)
        tokens = lengths.draw(len(ends_s)).sum() * (machine.step_s / machine.at_once[0] + machine.each_s)
        self.parts["sampling"] += times * read * machine.read_s / machine.gpus
        self.busy += times * (min(busy, over * machine.gpus) + read * machine.read_s)
        self.useful += times * (tokens * machine.per_engine + read * machine.read_s)
        return over

    def train(self, tokens: np.ndarray, gpus: int, update: int, passes: float, times: int) -> None:
        """Log-probabilities and updates of a step; an update takes as long as the GPU that has most tokens of it."""
        ranks, updates = sharing(gpus, update), tokens.reshape(-1, update)
        most = np.maximum(updates.sum(axis=1) / ranks, updates.max(axis=1))
        work_s = most * passes * self.machine.forward_s
        seconds = np.maximum(work_s, np.ceil(most / 16384) * self.machine.exchange_s).sum()
        self.parts["training"] += times * (seconds + len(updates) * self.machine.update_s)
        self.parts["sync"] += times * self.machine.sync_s
        self.parts["rows"] += times * len(tokens) * self.machine.row_s
        self.busy += times * seconds * ranks
        self.useful += times * tokens.sum() * passes * self.machine.forward_s


def trained(role: int, machine: Machine, sizes: Sizes, on: Switches) -> Stage:
    """A training of the Challenger (role 0, with the votes of the frozen Solver) or the Solver (role 1)."""
    stage, steps, count = Stage(("challenger", "solver")[role], machine, on), sizes.steps[role], sizes.answers[role]
    gpus, lengths = machine.gpus // 2 if machine.split and role == 0 else machine.gpus, sizes.lengths[role]
    stage.start(machine.job_s, takes_over=role == 1 and not machine.split)
    over = stage.sampled(batch(machine, gpus, count, lengths), lengths, steps)
    if role == 0:
        votes, read = votes_of_step(machine, gpus, sizes, on.cut_stragglers), count * sizes.prompts[1]
        over = stage.sampled(votes, sizes.lengths[1], steps, read, after_s=over)
        stage.parts["grading"] += steps * max(0.0, count * sizes.votes / F["rewards"] - over)
        stage.parts["penalty"] += steps * F["penalty_s"] * count**2
    stage.train(lengths.draw(count) + sizes.prompts[role], gpus, sizes.update[role], machine.passes[role], steps)
    model_s, rest_s = machine.save_s
    stage.parts["saving"] += model_s if on.save_once else sizes.saves[role] * (model_s + rest_s)
    return stage


def asked(name: str, machine: Machine, sizes: Sizes, on: Switches, follows: bool) -> Stage:
    """A stage that only samples; `follows` a training whose engines are on all GPUs and hold its model."""
    each = {"questions": sizes.candidates, "votes": sizes.candidates * sizes.votes, "evaluation": sizes.evaluation}
    stage, lengths, count = Stage(name, machine, on), sizes.lengths[name != "questions"], each[name]
    stage.go_on() if follows else stage.start(job_s=0)
    read = {"questions": 0, "votes": sizes.candidates, "evaluation": 2896}[name] * sizes.prompts[1]
    over = stage.sampled(batch(machine, machine.gpus, count, lengths), lengths, read=read)
    if name != "questions":
        stage.parts["grading"] += max(0.0, count / machine.grade[on.spread_grading] - over)
    stage.parts["writing"] += count * F["write_s"]
    return stage


def total_s(stages: list[Stage]) -> float:
    return sum(stage.seconds for stage in stages)


def round_of(make: Callable[[int], Machine], gpus: int, sizes: Sizes = PAPER, on: Switches = AS_IS) -> list[Stage]:
    """The stages of a round; what a switch would make slower stays as it is."""
    machine = make(gpus)
    by_turns = replace(machine, split=False, sync_s=machine.sync_s + F["switch_s"])
    firsts = [trained(0, way, sizes, on) for way in (machine, by_turns)[: 1 + on.by_turns]]
    return min((_after(first, machine, make, sizes, on) for first in firsts), key=total_s)


def _after(first: Stage, machine: Machine, make: Callable[[int], Machine], sizes: Sizes, on: Switches) -> list[Stage]:
    """The stages of a round that begins with a training of the Challenger."""
    gpus, fewer = machine.gpus, (machine.gpus // 4, machine.gpus // 2) if on.harvest else ()
    harvest = [asked(name, machine, sizes, on, not first.machine.split) for name in ("questions", "votes")]
    middle = [*harvest, trained(1, replace(machine, split=first.machine.split), sizes, on)]
    for share in (share for share in fewer if share and share % machine.per_engine == 0):
        beside = [asked(name, make(share), sizes, on, follows=False) for name in ("questions", "votes")]
        stage = trained(1, make(gpus - share), sizes, on)
        stage.parts["harvest"] += max(0.0, total_s(beside) - stage.seconds)
        stage.busy += sum(other.busy for other in beside)
        stage.useful += sum(other.useful for other in beside)
        middle = min(middle, [stage], key=total_s)
    return [first, *middle, asked("evaluation", machine, sizes, on, follows=True)]


def two_cores(answers: int, tokens: float, prompt: float, rollout_s: float, update_s: float, **more) -> Machine:
    """Two processes on two cores, from the times of one training step of so many answers."""
    each_s, forward_s = 2 * rollout_s / answers / tokens, 2 * update_s / answers / (tokens + prompt) / 3
    return Machine(2, False, 1, (256, 256), 0.0, each_s, forward_s, **more)


SMOLLM2 = Lengths(16, 0.3, 0, 48)  # mean 16.7 and prompts of 29 and 35: from tokens of steps in docs/performance.md
TINY = Lengths(30, 0.3, 0, 72)
MEASURED = (  # name, machine, sizes, seconds of stages in three rounds
    ("SmolLM2, from one step of 64 answers",
     two_cores(64, 16.7, 35, 3.7, 8.8, sync_s=1.1, row_s=1.4 / 64, job_s=15, passes=(4, 3)),  # job_s ASSUMED
     Sizes((4, 8), (64, 128), (64, 128), (1, 1), 8, 256, 2700, (SMOLLM2, SMOLLM2), (29, 35)),
     {"challenger": (182, 233, 258), "questions": (19, 32, 28), "votes": (75, 84, 106), "solver": (218, 335, 271),
      "evaluation": (119, 157, 138)}),
    ("tiny model, from one step of 512 answers",
     two_cores(512, 31.4, 10, 1.34, 0.94, sync_s=0.06, row_s=0.97 / 512, job_s=5, passes=(4.8, 4.8)),  # job_s ASSUMED
     Sizes((8, 15), (128, 512), (64, 256), (1, 1), 10, 500, 4500, (TINY, TINY), (10, 10)),
     {"challenger": (40, 47, 51), "questions": (1, 1, 1), "votes": (8, 12, 11), "solver": (63, 68, 72),
      "evaluation": (8, 8, 9)}),
)  # fmt: skip


def checks() -> None:
    for name, machine, sizes, measured in MEASURED:
        print(f"\n{name}: predicted seconds; measured in rounds 1, 2, 3")
        for stage in round_of(lambda gpus, machine=machine: machine, 2, sizes):
            print(f"  {stage.name:12} {stage.seconds:5.0f}   {measured[stage.name]}")
    machine, lengths = h100(8.03e9, 16, per_engine=1), PAPER.lengths[1]
    step = Stage("step", machine, AS_IS)
    step.sampled(batch(machine, 16, 2048, lengths), lengths)
    step.train(lengths.draw(2048) + 100, 16, 512, 5, 1)
    print("\nNeMo RL 0.4 (Megatron), Llama 3.1 8B, 16 H100, a step of 2,048 answers, mean 1,060 with prompts:")
    print(f"  {step.seconds:.0f} s; measured 97.7 s")
    print("verl, Qwen2.5-7B, 8,192 answers of at most 28,672 tokens, H20 (4.0 TB/s): the longest answer alone takes")
    print(f"  {28672 * (F['decode_s'] + 15.2e9 / 4.0e12):.0f} s; measured for all on 32, 64, 128 GPUs: 357, 151, 178 s")


def table(name: str, parameters: float) -> None:
    """Print a model's rounds on each number of GPUs."""
    print(f"\n{name}: minutes of a round; share of GPU time in which nothing runs, and that full engines would take")
    print("  GPUs challenger questions votes solver evaluation   all  idle  full  limits")
    for gpus in GPUS:
        stages = round_of(partial(h100, parameters), gpus)
        all_s, parts = total_s(stages), sum((stage.parts for stage in stages), Counter())
        busy, full = (sum(getattr(stage, kind) for stage in stages) / gpus / all_s for kind in ("busy", "useful"))
        limits = ", ".join(f"{part} {seconds / all_s:.0%}" for part, seconds in parts.most_common(4))
        times = "".join(f"{stage.seconds / 60:{w}.1f}" for stage, w in zip(stages, (11, 10, 6, 7, 11), strict=True))
        print(f"  {gpus:4}{times}{all_s / 60:6.0f}{1 - busy:6.0%}{full:6.0%}  {limits}")
        trainers = (max(1, gpus // 2), gpus)
        if 16 * parameters / trainers[0] > 80e9:
            print("       not possible: weights, gradients and AdamW of the Challenger do not fit 80 GB")
        if any(sharing(each, update) < each for each, update in zip(trainers, PAPER.update, strict=True)):
            used = [f"{sharing(*pair)} of {pair[0]}" for pair in zip(trainers, PAPER.update, strict=True)]
            print(
                f"       refused today: an update's answers can be shared by {used[0]} and {used[1]} GPUs, taken here"
            )


def savings(title: str, before: Switches) -> None:
    """Print what each switch that isn't on `before` saves of the round with those that are."""
    print(f"\n{title}; 4B, then 8B\n" + " " * 16 + "".join(f"{gpus:>6}" for gpus in GPUS * 2))
    cases = [(partial(h100, parameters), gpus) for parameters in MODELS.values() for gpus in GPUS]
    names = [each.name for each in fields(Switches) if not getattr(before, each.name)]
    for label, chosen in [*((name, [name]) for name in names), ("all of them", names)]:
        on = replace(before, **dict.fromkeys(chosen, True))
        saved = [1 - total_s(round_of(*case, on=on)) / total_s(round_of(*case, on=before)) for case in cases]
        print(f"{label:16}" + "".join(f"{share:6.0%}" for share in saved))


def main() -> None:
    """Print rounds, what switches save, the penalty, the checks, and every figure with how much it matters."""
    for name, parameters in MODELS.items():
        table(name, parameters)
    savings("Share of a round that a switch saves", AS_IS)
    savings("So where by_turns and save_once, which are settings, are on", Switches(save_once=True, by_turns=True))
    print("\nRepetition penalty of B questions, one process (from B = 8,192, by B squared)")
    for count in (2048, 8192, 65536):
        print(f"  {count:6,}: {F['penalty_s'] * count**2:6.1f} s, {0.89 * (count / 8192) ** 2:5.1f} GB")
    checks()
    print("\nFigures, and how much longer a round of 8B on 64 GPUs takes with twice of it (lengths are ASSUMED, too)")
    before = total_s(round_of(partial(h100, 8.19e9), 64))
    for name, (value, meaning, source) in FIGURES.items():
        F[name] = 2 * value
        print(f"  {total_s(round_of(partial(h100, 8.19e9), 64)) / before - 1:+5.0%} {value:<10.4g}{meaning}: {source}")
        F[name] = value
    longer = replace(PAPER, lengths=(PAPER.lengths[0], replace(PAPER.lengths[1], median=1400)))
    print(f"  {total_s(round_of(partial(h100, 8.19e9), 64, longer)) / before - 1:+5.0%} answers with a median of 1,400")


if __name__ == "__main__":
    main()
