"""Whether a model that somebody brings fits, before anything starts.

`python -m verl_rzero.engine.model_check` takes an `Asked` as JSON on its standard input and prints a `Found`, or says
what is wrong: the orchestrator has it done in a process of its own, since transformers is heavy, and stays small.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from verl_rzero.base.errors import UserError, refusal, shown
from verl_rzero.engine import known_models, memory, weights
from verl_rzero.rules.prompts import RolePrompt
from verl_rzero.settings.rules import may_be_hub_name

GENERATION = "generation_config.json"


@dataclass(frozen=True)
class Asked:
    """`path` is a directory or a hub name; `longest` the longest sequence of any engine, in tokens."""

    path: str
    prompts: list[RolePrompt]
    longest: int


@dataclass(frozen=True)
class Found:
    """What a model is: its config.json, None where it isn't on this machine; the tensors' sizes, where those can be
    read; and what may be wrong with it.
    """

    config: dict[str, Any] | None = None
    tensors: dict[str, int] | None = None
    warnings: list[str] = field(default_factory=list)


def check(asked: Asked) -> Found:
    """Look at the model in a process of its own. Raises UserError with what that says."""
    command = [sys.executable, "-m", "verl_rzero.engine.model_check"]
    done = subprocess.run(command, input=json.dumps(asdict(asked)), capture_output=True, text=True, check=False)
    if done.returncode == 2:
        raise UserError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise RuntimeError(f"{asked.path} could not be looked at:\n{done.stderr}")
    return Found(**json.loads(done.stdout))


def look_at(asked: Asked) -> Found:
    """What can be known of the model here. Raises UserError where no run could be made with it."""
    directory, whole = located(asked.path)
    if directory is None:
        return Found()
    config = weights.config(directory)
    tensors = weights.tensors(directory, whole)
    _check_trainable(asked.path, config)
    if not whole and not any((directory / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        return Found(config, tensors)
    return Found(config, tensors, [*_warnings(asked, directory)])


def located(path: str) -> tuple[Path | None, bool]:
    """Where the model is on this machine, None where it isn't; and whether all of it must be there."""
    local = Path(path).expanduser()
    if local.is_dir():
        return local, True
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(path, weights.CONFIG)
    return (Path(cached).parent if isinstance(cached, str) else None), False


def shape(path: Path | str) -> memory.Shape | None:
    """The sizes of a model's config.json, or of one that recipes name; None where it is none of these and isn't on this
    machine, or doesn't name them.
    """
    if not Path(path).expanduser().is_dir() and not may_be_hub_name(str(path)):
        return None
    directory, _ = located(str(path))
    known = directory is not None and (directory / weights.CONFIG).is_file()
    if directory is not None and known:
        return memory.shape(weights.config(directory), None)
    return memory.shape(known_models.SIZES[str(path)], None) if str(path) in known_models.SIZES else None


def _check_trainable(path: str, config: dict[str, Any]) -> None:
    """Raises UserError for a model that transformers doesn't know, or that verl can't train."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as with_images

    kind, classes = config.get("model_type"), config.get("architectures") or []
    if kind not in transformers.CONFIG_MAPPING:
        why = f"model_type={kind} of its config.json is unknown to transformers {transformers.__version__}"
        instead = "Code that comes with a model is not run; take a model of one of transformers' own architectures."
        raise refusal("model.path", path, why, instead)
    if len(classes) != 1 or ("ForCausalLM" not in classes[0] and kind not in with_images):
        why = f"architectures={shown(classes)} in its config.json, and verl trains one that writes text"
        raise refusal("model.path", path, why, "Take a model whose class is named ...ForCausalLM, as Qwen3ForCausalLM.")
    if "quantization_config" in config:
        why = "its weights are quantized, and such weights can't be trained"
        raise refusal("model.path", path, why, "Take the model in bfloat16 or float32.")


def _warnings(asked: Asked, directory: Path) -> Iterator[str]:
    from transformers import AutoConfig, AutoTokenizer

    from verl_rzero.engine import chat_template

    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True).get_text_config()
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except Exception as error:  # the Rust library behind a tokenizer raises nothing narrower
        why = f"transformers can't load its config or tokenizer ({chat_template.first_line(error)})"
        raise refusal("model.path", asked.path, why, weights.COPY_ANEW) from error
    _check_length(asked, config)
    if tokenizer.chat_template is None:
        why = "its tokenizer has no chat template, so that it can't be asked anything"
        instead = "Put one into chat_template.jinja, that of a model of the same family for example: docs/models.md."
        raise refusal("model.path", asked.path, why, instead)
    for prompt in asked.prompts:
        yield from chat_template.check_prompt(tokenizer, prompt, asked.path)
    yield from chat_template.check_end(tokenizer, _stops(tokenizer, config, directory), asked.path)


def _check_length(asked: Asked, config: Any) -> None:
    """Raises UserError where sequences get longer than the model's positions, which vLLM refuses."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return
    scaling = getattr(config, "rope_parameters", None) or {}
    positions = int(positions * max(1.0, scaling.get("factor") or 1.0))
    if asked.longest > positions:
        why = f"it has {positions} positions, and a prompt, a question and an answer are up to {asked.longest} tokens"
        instead = "Write smaller model.prompt_tokens, model.question_tokens and model.answer_tokens."
        raise refusal("model.path", asked.path, why, instead)


def _stops(tokenizer: Any, config: Any, directory: Path) -> set[int]:
    """The ids at which vLLM ends a reply: the tokenizer's end token, and those of generation_config.json or, where
    there is none, of config.json.
    """
    if (directory / GENERATION).is_file():
        given = weights.read_json(directory, GENERATION).get("eos_token_id")
    else:
        given = getattr(config, "eos_token_id", None)
    ids = given if isinstance(given, list) else [given]
    return {token for token in (*ids, tokenizer.eos_token_id) if token is not None}


def main() -> int:
    words = json.load(sys.stdin)
    prompts = [RolePrompt(**{**each, "read_for": tuple(each["read_for"])}) for each in words["prompts"]]
    try:
        found = look_at(Asked(words["path"], prompts, words["longest"]))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
