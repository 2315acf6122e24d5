"""The card of an exported model, README.md as the Hugging Face Hub reads it, and what the dataset's shares with it.

Pure functions.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from verl_rzero.methods import plan
from verl_rzero.publish import markdown
from verl_rzero.publish.lineage import Origin, Score
from verl_rzero.publish.words import Words, paper, words
from verl_rzero.rules.code_tasks import identity, solve_messages
from verl_rzero.rules.prompts import Messages, challenger_messages, solver_messages
from verl_rzero.settings import Settings, as_dict
from verl_rzero.settings.rules import may_be_hub_name
from verl_rzero.watch.reported import marked

if TYPE_CHECKING:
    from huggingface_hub import CardData


@dataclass(frozen=True)
class Exported:
    """What the cards tell: the run's settings, the model's role ("solver", "challenger") and round, how it came about
    from the base model on, versions of code and packages, and what only the user knows (None where not said).

    `example` is a question of the run, `rows` how many the dataset has of each config (none of a method without votes,
    which has no dataset), `repo` the model's hub name.
    """

    settings: Settings
    role: str
    round: int
    lineage: list[Origin]
    code_version: str
    packages: dict[str, str]
    base_model: str | None
    license: str | None
    repo: str | None
    example: str
    rows: dict[str, int]

    @property
    def dataset_repo(self) -> str | None:
        return f"{self.repo}-questions" if self.repo is not None and self.has_dataset else None

    @property
    def has_dataset(self) -> bool:
        """Whether the run asked questions and voted on them."""
        return plan.method(self.settings).has("votes")

    @property
    def words(self) -> Words:
        return words(self.settings, self.role)


def model_card(made: Exported) -> str:
    """README.md of the model's directory."""
    from huggingface_hub import EvalResult, ModelCardData

    method = plan.method(made.settings).title
    title = f"{made.settings.model.name}: {made.role.capitalize()} after round {made.round} of {method}"
    last = made.lineage[-1]
    results = [
        EvalResult(
            task_type="text-generation", dataset_type=score.benchmark, dataset_name=_marked(made, score.benchmark),
            metric_type="accuracy", metric_name=f"{score.metric} accuracy", metric_value=round(score.value, 4),
        )
        for score in (last.scores if made.role == "solver" else [])
        if score.benchmark != made.settings.evaluation.choose_by  # which is there for choosing, not for reporting
    ]  # fmt: skip
    data = ModelCardData(
        license=made.license,
        base_model=made.base_model,
        base_model_relation="finetune" if made.base_model else None,
        datasets=[*made.words.datasets, *([made.dataset_repo] if made.dataset_repo else [])] or None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=[*made.words.tags, "grpo", made.role],
        model_name=title if results else None,
        eval_results=results or None,
    )
    sections = [f"# {title}", _what(made), _use(made), _scores(made), rounds_section(made)]
    return card(
        data,
        [
            *sections,
            settings_section(made),
            versions_section(made),
            f"## What to be careful with\n\n{made.words.limits}",
            license_section(made, "base model"),
        ],
    )


def card(data: "CardData", sections: Sequence[str]) -> str:
    """The whole text: `data` as its head, then the sections."""
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def _what(made: Exported) -> str:
    base = f"A base model ({_name(made)}, weights `{made.lineage[0].solver}`)"
    if made.base_model:
        base = f"[{made.base_model}](https://huggingface.co/{made.base_model})"
    often = "one round" if made.round == 1 else f"{made.round} rounds"
    return f"{base} after {often} of {paper(made.settings)}, {made.words.what}"


def _name(made: Exported) -> str:
    return Path(made.settings.model.path).name if made.settings.model.path else made.settings.model.name


def messages(made: Exported) -> Messages:
    """What the model was trained to reply to, with the example for a question."""
    prompts = made.settings.prompts
    if made.settings.algorithm == "absolute_zero":
        return solve_messages(made.settings.self_play.prompts, identity("deduction", 1))
    return solver_messages(prompts, made.example) if made.role == "solver" else challenger_messages(prompts)


def _use(made: Exported) -> str:
    model = made.settings.model
    length = model.answer_tokens if made.role == "solver" else model.question_tokens
    asked = made.settings.sampling.questions
    sampling = "do_sample=False"
    if made.role == "challenger":
        sampling = f"do_sample=True, temperature={asked.temperature}, top_p={asked.top_p}"
    code = f"""\
from transformers import AutoModelForCausalLM, AutoTokenizer

path = "{made.repo or "."}"
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path)
messages = {messages(made)!r}
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
output = model.generate(**inputs, max_new_tokens={length}, {sampling})
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))"""
    return f"## Use\n\n{made.words.messages}\n\n{markdown.fenced('python', code)}"


def _scores(made: Exported) -> str:
    names = list(dict.fromkeys((score.benchmark, score.metric) for origin in made.lineage for score in origin.scores))
    if not names:
        return "## Scores\n\nThis run had no benchmark."
    header = ["Solver", *(f"{markdown.cell(_marked(made, name))} {metric}" for name, metric in names)]
    rows = []
    for origin in made.lineage:
        by_name = {(score.benchmark, score.metric): score for score in origin.scores}
        rows.append([_round_name(origin), *(_score(by_name.get(name)) for name in names)])
    sizes = {score.benchmark: score.n for origin in made.lineage for score in origin.scores}
    counted = ", ".join(f"{markdown.cell(name)} {n}" for name, n in sizes.items())
    how = (
        f"{made.words.measured} ({counted}), greedy and as the mean of sampled answers, with 95 % intervals "
        "over questions (Wilson's). The base model had the same prompts and the same grader. Intervals don't tell of "
        "other seeds: this is one run."
    )
    return f"## Scores\n\n{markdown.table(header, rows)}\n\n{' '.join([how, *made.words.not_held_out])}"


def _marked(made: Exported, benchmark: str) -> str:
    """Its name, and whether its questions were trained on or have chosen a round."""
    return marked({"settings": as_dict(made.settings)}, benchmark)


def _score(score: Score | None) -> str:
    return "-" if score is None else f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def rounds_section(made: Exported) -> str:
    """The models and data of each round."""
    columns = made.words.columns
    rows = [[_round_name(origin), *(cell(origin) for cell in columns.values())] for origin in made.lineage]
    return f"## Lineage\n\n{markdown.table(['', *columns], rows)}\n\n{made.words.lineage}"


def settings_section(made: Exported) -> str:
    """All settings of the run."""
    chosen = {key: value for key, value in as_dict(made.settings).items() if key not in ("run_dir", "dry_run")}
    text = yaml.safe_dump(_without_paths(chosen), sort_keys=False, allow_unicode=True, width=110).rstrip()
    how = "All of them; of local paths only the last part, and no addresses."
    return f"## Settings\n\n{how}\n\n{markdown.fenced('yaml', text)}"


def _without_paths(value: Any, key: str = "") -> Any:
    """Of local paths, which tell how somebody's machine is arranged, only the last part; of addresses nothing."""
    if isinstance(value, dict):
        return {name: _without_paths(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item, key) for item in value]
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"\w+://\S+", value):
        return "(an address)"
    is_file = key in ("path", "data") and not may_be_hub_name(value)
    return Path(value).name if is_file or re.fullmatch(r"(~|\.\.?)?/\S+", value) else value


def versions_section(made: Exported) -> str:
    """Code and packages."""
    packages = ", ".join(f"{name} {version}" for name, version in made.packages.items())
    return f"## Versions\n\nverl_rzero {made.code_version}; {packages}."


def license_section(made: Exported, of: str) -> str:
    """What is known of the licence. `of` says whose terms matter."""
    if made.license is not None:
        return f"## Licence\n\n`{made.license}`, as stated by whoever exported this."
    return (
        f"## Licence\n\n**Not stated yet.** Nothing is known here of the terms of the {of}, which may bind this too; "
        "whoever publishes this has to look them up and state a licence (`license=` of the export, or "
        "`license:` in the head of this file)."
    )


def _round_name(origin: Origin) -> str:
    return f"round {origin.round}" if origin.round else "base"
