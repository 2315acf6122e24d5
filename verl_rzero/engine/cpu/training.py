"""verl's FSDP2 engine for language models, as a CPU wants it: logits of the tokens that are learned, and no others; a
prompt once for all of its responses.

A language model's vocabulary is a fifth of SmolLM2's work and nearly all of its memory; of a prompt's tokens no
log-probability is ever read. The engine stands in verl's registry for the device "cpu", for which verl has none.
"""

import inspect
import math
from functools import cached_property
from typing import Any

import torch
from peft import PeftModel
from tensordict import TensorDict
from verl.utils import tensordict_utils
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from verl_rzero.engine.cpu import attention, prompts


def register() -> None:
    """Make verl take this engine on a CPU. Idempotent."""
    registered = EngineRegistry._engines.get("language_model", {})
    if "cpu" not in registered.get("fsdp2", {}):
        EngineRegistry.register(model_type="language_model", backend=["fsdp2"], device=["cpu"])(CPUEngine)


class CPUEngine(FSDPEngineWithLMHead):
    """verl's engine; models whose forward has no `logits_to_keep` get logits of every token, as in verl."""

    @cached_property
    def _can_keep_logits(self) -> bool:
        model = self.module.get_base_model() if isinstance(self.module, PeftModel) else self.module
        return "logits_to_keep" in inspect.signature(model.forward).parameters

    @cached_property
    def _can_share_prompts(self) -> bool:
        return self._can_keep_logits and self.module.config._attn_implementation == attention.NAME

    def forward_backward_batch(self, data: TensorDict, loss_function: Any, forward_only: bool = False) -> Any:
        if self._can_share_prompts and tensordict_utils.get_non_tensor_data(data, "use_dynamic_bsz", True):
            group = self.get_data_parallel_group()
            found: list[int] = [1] * torch.distributed.get_world_size(group)
            together = prompts.rows_together(data, tensordict_utils.get(data, "max_token_len_per_gpu"))
            torch.distributed.all_gather_object(found, together, group)
            tensordict_utils.assign_non_tensor(data, force_group_size=math.gcd(*found))
        return super().forward_backward_batch(data, loss_function, forward_only)

    def prepare_model_inputs(self, micro_batch: TensorDict) -> tuple[dict[str, Any], dict[str, Any]]:
        inputs, arguments = super().prepare_model_inputs(micro_batch)
        learned = learned_positions(micro_batch) if self._can_keep_logits else None
        if learned is not None:
            inputs["logits_to_keep"] = arguments["kept"] = learned
            for name in ("input_ids_rmpad_rolled", "temperature_rmpad"):
                arguments[name] = arguments[name][learned]
            if self._can_share_prompts:
                computed, found = prompts.without_repeats(micro_batch)
                inputs["logits_to_keep"] = found[learned]
                for name in ("input_ids", "position_ids"):
                    inputs[name] = inputs[name][:, computed]
        return inputs, arguments

    def prepare_model_outputs(
        self, output: Any, output_args: dict[str, Any], micro_batch: TensorDict, logits_processor_func: Any
    ) -> dict[str, Any]:
        kept = output_args.get("kept")
        if kept is None:
            return dict(super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func))
        whole = micro_batch["input_ids"]
        learned = micro_batch.copy()
        learned["input_ids"] = torch.nested.nested_tensor_from_jagged(
            whole.values()[kept], micro_batch["responses"].offsets()
        )
        found = super().prepare_model_outputs(output, output_args, learned, logits_processor_func)
        return {name: _spread(values, kept, whole) for name, values in found.items()}


def learned_positions(micro_batch: TensorDict) -> torch.Tensor | None:
    """Where in the packed row the tokens stand whose next token is a response's: int64[response tokens].

    None without prompts and responses (supervised fine-tuning), where all are needed.
    """
    if "prompts" not in micro_batch or "responses" not in micro_batch:
        return None
    ends, lengths = micro_batch["input_ids"].offsets()[1:], micro_batch["responses"].offsets().diff()
    first = ends - lengths - 1
    within = torch.arange(int(lengths.sum())) - torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    return torch.repeat_interleave(first, lengths) + within


def _spread(values: torch.Tensor, kept: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Values of the kept positions as a jagged tensor of all of them, 0 elsewhere."""
    flat = values.values()
    everywhere = flat.new_zeros(whole.values().shape[0]).index_copy(0, kept, flat)
    return torch.nested.nested_tensor_from_jagged(everywhere, whole.offsets())
