"""From words on the command line to one nested dict, through Hydra's compose API."""

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from verl_rzero.base.errors import UserError, refusal

GROUPS = ("method", "model", "hardware")
"""Each is chosen by one word, `model=tiny`, and is a folder of YAML files in the recipes."""

_PACKAGE = Path(__file__).resolve().parents[1]


def recipes_dir() -> Path:
    """Where the groups' YAML files are: inside the installed package, or beside it in a checkout."""
    installed = _PACKAGE / "recipes"
    return installed if installed.is_dir() else _PACKAGE.parent / "recipes"


def choices(group: str) -> list[str]:
    """The names that may be written behind `group=`."""
    return sorted(path.stem for path in (recipes_dir() / group).glob("*.yaml"))


def chosen(overrides: list[str], group: str) -> str | None:
    """The word behind `group=` in the overrides, None where there is none."""
    words = [str(override.value()) for override in _parse(overrides) if override.key_or_group == group]
    return words[-1] if words else None


def composed(overrides: list[str]) -> dict[str, Any]:
    """coevolve.yaml with the chosen groups and the overrides merged over it, as plain nested dicts.

    Keys are not checked here. Raises UserError for a word that isn't an override, an unknown name behind a group, and
    a sweep.
    """
    words = [f"hydra.searchpath=[file://{recipes_dir()}]", *(_checked(override) for override in _parse(overrides))]
    with initialize_config_dir(config_dir=str(_PACKAGE / "config"), version_base="1.3"):
        try:
            config = compose("coevolve", overrides=words)
            return plain(config, resolve=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(f"The settings can't be put together: {error}") from error


def from_files(name: str, overrides: list[str], groups: tuple[str, ...]) -> dict[str, Any]:
    """config/<name>.yaml, over it a file of each of the `groups` (each must be chosen), over these the other overrides,
    as plain nested dicts. Hydra itself would take a key for a group wherever the recipes have one of that name.

    Keys are not checked here. Raises UserError as `laid_over` does.
    """
    config = OmegaConf.load(_PACKAGE / "config" / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    parsed = _parse(overrides)
    for override in parsed:
        if override.key_or_group in groups:
            _checked(override, groups)
            config.merge_with(OmegaConf.load(recipes_dir() / override.key_or_group / f"{override.value()}.yaml"))
    words = [str(override.input_line) for override in parsed if override.key_or_group not in groups]
    return laid_over(plain(config), words, groups)


def laid_over(data: dict[str, Any], overrides: list[str], groups: tuple[str, ...] = GROUPS) -> dict[str, Any]:
    """`data` with `key=value` words laid over it; groups can't be chosen here. Raises UserError as `composed` does."""
    config = OmegaConf.create(data)
    for override in _parse(overrides):
        _checked(override, groups)
        if override.key_or_group in groups or override.is_delete():
            raise UserError(f"{override.input_line}: only key=value can be written here.")
        OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    return plain(config)


def plain(config: DictConfig, resolve: bool = False) -> dict[str, Any]:
    """A Hydra config as nested dicts, its references to other keys filled in or left as they're written."""
    container = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _parse(overrides: list[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(overrides)
    except OverrideParseException as error:
        raise UserError(
            f"{error.override}: this can't be read. Write key=value, without spaces around the equals sign; "
            "a value with spaces or braces needs two pairs of quotes: 'key=\"a value\"'."
        ) from error


def _checked(override: Override, groups: tuple[str, ...] = GROUPS) -> str:
    """The override as Hydra shall see it. Unknown keys pass here: the schema refuses them."""
    line, name = str(override.input_line), override.key_or_group
    if override.is_sweep_override():
        raise UserError(
            f"{line}: one value, please. A list is written {name}=[a, b]; several runs are several commands."
        )
    if name in groups:
        if override.value() not in choices(name):
            raise refusal(name, override.value(), "there is no such recipe", f"Known: {', '.join(choices(name))}.")
        return line
    if override.is_delete():
        return line
    return "++" + line.lstrip("+")
