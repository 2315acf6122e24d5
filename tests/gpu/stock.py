"""verl's own trainer (`verl.trainer.main_ppo`) with the configuration of our Solver's job, but for what is ours."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf, open_dict

from gpu import model
from verl_rzero.engine import jobs, verl_tree
from verl_rzero.settings import Settings

NAME, METRICS = "stock", "metrics.jsonl"


def write(asked: Settings, directory: Path, here: Path) -> None:
    """The configuration as <here>/stock.yaml; `directory` holds the model."""
    config = jobs.verl_config(
        asked, "solver", model=directory, train_file=directory / model.ROWS, stage_dir=here / "stage"
    )
    with open_dict(config):
        del config["verl_rzero"]
        config.reward.reward_manager = verl_tree.stock().reward.reward_manager
        config.reward.custom_reward_function.path = str(Path(__file__))
        config.trainer.save_freq = -1
        config.trainer.logger = ["file"]
        config.ray_kwargs.ray_init.address = "local"  # never a cluster that Ray finds by itself
        if asked.hardware.device == "cpu":
            config.actor_rollout_ref.model.external_lib = "gpu.stock_on_cpu"
    OmegaConf.save(config, here / f"{NAME}.yaml")


def compute_score(data_source: str, solution_str: str, ground_truth: str, **_: Any) -> float:
    """A reward that costs nothing and differs from reply to reply."""
    return float(len(solution_str) % 2)
