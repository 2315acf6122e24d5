"""The settings of evaluations: benchmarks, how replies to them are sampled, and a judge."""

from dataclasses import dataclass, field

from verl_rzero.settings.benchmarks import TABLE, source
from verl_rzero.settings.schema import doc


@dataclass(frozen=True)
class Benchmark:
    path: str | None = field(
        default=None,
        metadata=doc(
            "parquet or JSONL file or directory with its data; null: from the hub where the name is a known one, else "
            "made with the base model"
        ),
    )
    n: int | None = field(default=None, metadata=doc("questions taken from it, the first; null for all", at_least=1))
    k: int | None = field(
        default=None,
        metadata=doc("sampled answers to each question; null: as docs/evaluation.md says; 0: greedy only", at_least=0),
    )
    temperature: float | None = field(
        default=None, metadata=doc("of its sampled answers; null: evaluation.temperature", above=0)
    )


@dataclass(frozen=True)
class Judge:
    url: str | None = field(
        metadata=doc("OpenAI-compatible endpoint, as http://localhost:8000/v1, asked about wrong answers; null: none")
    )
    model: str | None = field(metadata=doc("the judge's name at that endpoint; null: no judge"))
    api_key_env: str | None = field(metadata=doc("environment variable that holds the endpoint's key; null for none"))
    concurrency: int = field(metadata=doc("requests at the same time", at_least=1))
    timeout_s: float = field(metadata=doc("seconds after which a request is given up", above=0))
    attempts: int = field(metadata=doc("tries of a request before the judge counts as failed on it", at_least=1))


@dataclass(frozen=True)
class Evaluation:
    benchmarks: dict[str, Benchmark] = field(
        metadata=doc(f"name: {{path, n, k, temperature}} of each held-out benchmark; known: {', '.join(TABLE)}")
    )
    k: int = field(metadata=doc("sampled answers to each question, for mean@k; one more is greedy", at_least=1))
    temperature: float = field(metadata=doc("of the sampled answers", above=0))
    choose_by: str | None = field(
        metadata=doc("the benchmark that chooses the best round and is not reported as the result; null: none")
    )
    judge: Judge

    def k_of(self, name: str) -> int:
        """Sampled answers to each question of a benchmark: its own setting, else the table's, else `k`."""
        return next(k for k in (self.benchmarks[name].k, source(name).k, self.k) if k is not None)

    def made_with_model(self, name: str) -> bool:
        """Whether the benchmark is neither on disk nor known by name, so that it is made with the base model."""
        return self.benchmarks[name].path is None and name not in TABLE
