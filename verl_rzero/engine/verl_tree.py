"""verl's own configuration tree: composed from the installed package without importing it, laid over with checks."""

import difflib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from verl_rzero.base.errors import UserError

OPEN = (  # where verl's own tree takes any key
    "actor_rollout_ref.model.override_config",
    "model.override_config",
    "actor_rollout_ref.rollout.engine_kwargs.vllm",
    "actor_rollout_ref.rollout.engine_kwargs.sglang",
    "reward.reward_model.rollout.engine_kwargs",
    "data.apply_chat_template_kwargs",
    "ray_kwargs.ray_init",
    "trainer.v1.sampler.sampler_kwargs",
)


def stock(name: str = "ppo_trainer") -> DictConfig:
    """verl's <name>.yaml, composed from the installed package without importing it."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    spec = importlib.util.find_spec("verl")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("verl is not installed; bash recipes/run_rzero.sh installs it")
    directory = Path(spec.submodule_search_locations[0]) / "trainer" / "config"
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(directory), version_base=None):
        return compose(name)


def lay_over(config: DictConfig, source: str, part: dict[str, Any]) -> None:
    """Merge the user's `part`; keys that are not in verl's tree are refused, except below the nodes of OPEN."""
    for name, value in leaves(part):
        if any(name.startswith(f"{open_}.") for open_ in OPEN):
            OmegaConf.update(config, name, value, force_add=True)
            continue
        try:
            if OmegaConf.select(config, name, throw_on_missing=False) is None and name not in set(names(config)):
                raise ConfigKeyError(name)
            OmegaConf.update(config, name, value)
        except (ConfigKeyError, OmegaConfBaseException) as error:
            close = difflib.get_close_matches(name, names(config), n=1)
            hint = f"Did you mean {source}.{close[0]}?" if close else "See the YAML files in verl's trainer/config."
            raise UserError(
                f"{source}.{name}={value}: verl does not take it ({type(error).__name__}). {hint}"
            ) from error


def leaves(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        name = f"{where}.{key}" if where else str(key)
        if isinstance(value, dict) and value:
            yield from leaves(value, name)
        else:
            yield name, value


def names(config: DictConfig) -> list[str]:
    tree = OmegaConf.to_container(config, resolve=False, throw_on_missing=False)
    return [name for name, _ in leaves(tree)]
