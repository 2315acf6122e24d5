"""Settings composed, read, checked and written.

Values come from config/coevolve.yaml, the YAML files of the chosen groups (model, hardware, method) and the command
line, in this order.
"""

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from verl_rzero.base.errors import UserError
from verl_rzero.base.files import write_atomically
from verl_rzero.settings import schema
from verl_rzero.settings.compose import GROUPS, composed, laid_over
from verl_rzero.settings.evaluation import Benchmark
from verl_rzero.settings.rules import problems
from verl_rzero.settings.run_settings import OPEN_DICTS, Settings

ADDED_SINCE: dict[str, Any] = {
    "algorithm": "rzero",
    "data": None,
    "checkpoint_every": 0,
    "attempts": 1,
    "stalled_after_s": None,
    "challenger": {"kl_times": 1.0},
    "solver": {"steps_times": 1.0, "towards_start": 0.0},
    "sampling": {"wait_for": 1.0},
    "lora": {"rank": 0, "alpha": 32},
    "ttrl": {"votes": 64, "vote_by": "equality"},
    "monitors": {"learnability": None},
    "hardware": {"cpu_dtype": "float32", "gpu_gib": None},
}
"""Keys that files of earlier versions don't have, with what those versions did."""

PARTS_SINCE = ("self_play", "execution")
"""Parts that those files don't have, and that no stage of theirs depends on: as they are by default."""


def load(overrides: list[str]) -> Settings:
    """Settings of a run from words as on the command line, checked; raises UserError."""
    return _checked(composed(overrides))


def read(path: Path) -> Settings:
    """Settings from a file that `save` wrote; raises UserError when it is damaged or of another version."""
    return _checked(_content(path))


def recall(path: Path) -> Settings:
    """As `read`, for looking at a run on any machine: what the settings name needs not be there."""
    try:
        return _built(_content(path))
    except UserError as error:
        raise UserError(f"{path} is damaged, or of another version of verl_rzero: {error}") from error


def _content(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} can't be read: it holds no settings.")
    data = _completed(ADDED_SINCE, data)
    if not {*PARTS_SINCE} <= data.keys():
        default = composed([])
        data = _completed({name: default[name] for name in PARTS_SINCE}, data)
    return data


def _completed(added: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """`data` with the values of `added` for the keys that it lacks, at any depth."""
    parts = [key for key in added if isinstance(added[key], dict) and isinstance(data.get(key), dict)]
    return {**added, **data, **{key: _completed(added[key], data[key]) for key in parts}}


def changed(settings: Settings, overrides: list[str]) -> Settings:
    """The settings with words as on the command line laid over them, checked; raises UserError."""
    return _checked(laid_over(as_dict(settings), overrides))


def with_parts(settings: Settings, **parts: Any) -> Settings:
    """The settings with other parts, checked like all settings; raises UserError."""
    return _checked(as_dict(dataclasses.replace(settings, **parts)))


def with_benchmarks(settings: Settings, benchmarks: dict[str, Benchmark], temperature: float) -> Settings:
    """The settings to evaluate on other benchmarks only, not yet checked; no round is chosen by them."""
    evaluation = dataclasses.replace(
        settings.evaluation, benchmarks=benchmarks, temperature=temperature, choose_by=None
    )
    monitors = dataclasses.replace(settings.monitors, early_stop_rounds=None)
    return dataclasses.replace(settings, evaluation=evaluation, monitors=monitors)


def text(settings: Settings) -> str:
    """The settings as YAML, the content of a settings file."""
    return str(yaml.safe_dump(as_dict(settings), sort_keys=False, allow_unicode=True, width=120))


def save(settings: Settings, path: Path) -> None:
    """Write `path` whole or not at all, so that `read(path) == settings`."""
    write_atomically(path, text(settings))


def as_dict(settings: Settings) -> dict[str, Any]:
    """The settings as nested dicts, lists and plain values, as in YAML and JSON."""
    return {key: _plain(value) for key, value in dataclasses.asdict(settings).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _checked(data: dict[str, Any]) -> Settings:
    settings = _built(data)
    for error in problems(settings):
        raise error
    return settings


def _built(data: dict[str, Any]) -> Settings:
    known = {key.name for key in schema.keys(Settings)}
    for name in schema.flat(data):
        open_dict = name.startswith(tuple(f"{part}." for part in (*OPEN_DICTS, "evaluation.benchmarks")))
        if name not in known and not open_dict and not _is_parent(name, known):
            raise schema.unknown_key(name, [*GROUPS, *sorted(known)])
    return schema.build(Settings, data)


def _is_parent(name: str, known: set[str]) -> bool:
    return any(key.startswith(f"{name}.") for key in known)
