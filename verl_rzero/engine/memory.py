"""How much memory a GRPO job takes, from its verl configuration and the model's shape: all sizes in bytes.

Upper estimates: every sequence as long as it may be, every cache full. What is `certain` is there at the latest when
the first update ends, however short the sequences are; the rest are estimates. docs/models.md has both beside
measurements.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig

GIB = 2**30

COPIES_OF_LOGITS = 3
"""The logits, their log-softmax that is kept for the backward pass, and the gradient."""

SAMPLER_BYTES = 24
"""Of vLLM's sampler, for each sequence and entry of the vocabulary: logits, probabilities, and both sorted with their
places, for top_p.
"""

TRAINER_BASE, ENGINE_BASE, SERVER_BASE, OTHERS_BASE = (round(gib * GIB) for gib in (0.7, 0.2, 0.3, 1.9))
"""On a CPU: a process before it has a model, a trainer's with 0.3 GiB that malloc keeps of what was freed; the last is
the orchestrator, the warm server, the driver, Ray and the store together. Measured with `benchmarks/memory.py`.
"""


@dataclass(frozen=True)
class Shape:
    """A transformer's sizes. `parameters` and `largest`, of its largest tensor, count weights."""

    parameters: int
    largest: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocabulary: int


@dataclass(frozen=True)
class Process:
    """One of `count` like processes, and what each needs, in bytes by what it is for."""

    name: str
    certain: dict[str, int]
    estimated: dict[str, int]
    count: int = 1

    @property
    def size(self) -> int:
        """Of all `count`, in bytes."""
        return self.at_least + self.count * sum(self.estimated.values())

    @property
    def at_least(self) -> int:
        """The certain part of it."""
        return self.count * sum(self.certain.values())


def width_of(kind: str | None) -> int:
    """Bytes of a number of one of verl's and vLLM's types, as bf16 or float32: 4 for those that it doesn't know."""
    return 2 if kind in ("bf16", "bfloat16", "fp16", "float16", "half") else 4


def shape(config: Mapping[str, Any], tensors: Mapping[str, int] | None) -> Shape | None:
    """The sizes in a Hugging Face config.json; the weights are counted from `tensors` ({name: weights}) where those are
    known, else computed for a dense model without biases. None where the config does not name the sizes.
    """
    config = config.get("text_config") or config
    try:
        hidden, layers, heads = config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]
        mlp, vocabulary = config["intermediate_size"], config["vocab_size"]
    except KeyError:
        return None
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or hidden // heads
    layer = 2 * hidden * (heads + kv_heads) * head_dim + 3 * hidden * mlp + 2 * hidden
    tables = 1 if config.get("tie_word_embeddings") else 2
    parameters = sum(tensors.values()) if tensors else layers * layer + tables * vocabulary * hidden + hidden
    largest = max(tensors.values()) if tensors else hidden * max(vocabulary, mlp, heads * head_dim)
    return Shape(parameters, largest, hidden, layers, heads, kv_heads, head_dim, mlp, vocabulary)


def training_state(parameters: int, trained: int, width: int) -> dict[str, int]:
    """Weights, and gradients and AdamW's two averages of those that are trained, all of `width` bytes a number."""
    return {"weights": width * parameters, "gradients": width * trained, "AdamW": 2 * width * trained}


def adapter_size(model: Shape, rank: int) -> int:
    """Weights of an adapter of this rank beside every matrix of the layers: two matrices each, whose sizes are the
    rank and the matrix's two sides.
    """
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    attention = 2 * (model.hidden + queries) + 2 * (model.hidden + keys)
    return rank * model.layers * (attention + 3 * (model.hidden + model.mlp))


def activations(model: Shape, tokens: int, width: int, checkpointing: bool) -> int:
    """What a forward pass over `tokens` keeps for the backward pass.

    Of each layer and token: six vectors of the hidden size (around the two norms), queries and attention's output, keys
    and values with their copies for every head, and four vectors of the MLP (gate, its SiLU, up, their product). With
    checkpointing a layer keeps its input, and one layer at a time the rest.
    """
    attention = 2 * model.heads * model.head_dim + 2 * (model.heads + model.kv_heads) * model.head_dim
    layer = 6 * model.hidden + attention + 4 * model.mlp
    numbers = model.layers * model.hidden + layer if checkpointing else model.layers * layer
    return tokens * width * numbers


def logits(model: Shape, tokens: int, width: int) -> int:
    """The vocabulary's scores of each token, with what a loss keeps of them."""
    return COPIES_OF_LOGITS * tokens * width * model.vocabulary


def micro_batch_tokens(config: DictConfig) -> tuple[int, int]:
    """The most tokens that a trainer takes at once, the budget or all of an update's where those are fewer; and of how
    many it needs logits: on a CPU of responses only (`cpu/training.py`).
    """
    job, longest = config.actor_rollout_ref, config.data.max_response_length
    sequences = -(-job.actor.ppo_mini_batch_size * job.rollout.n // _ranks(config))
    tokens = min(job.actor.ppo_max_token_len_per_gpu, sequences * (config.data.max_prompt_length + longest))
    return int(tokens), int(min(tokens, sequences * longest) if config.trainer.device == "cpu" else tokens)


def trainer(config: DictConfig, model: Shape) -> Process:
    """What trains: its share of the state, and the fullest moment of a step. On GPUs verl keeps the reference in the
    host's memory, and with an adapter there is none but where it is the run's base: it is the model without. On a CPU
    weights stay gathered between the passes; and while an adapter is added to the weights for the engine, verl keeps a
    copy of them.
    """
    job = config.actor_rollout_ref
    fsdp = job.actor.fsdp_config
    adapter = adapter_size(model, job.model.lora_rank)
    share = -(-(model.parameters + adapter) // _ranks(config))
    trained = -(-adapter // _ranks(config)) if adapter else share
    state = training_state(share, trained, width_of(fsdp.model_dtype))
    has_reference = job.actor.use_kl_loss and (not adapter or config.verl_rzero.reference_model is not None)
    if has_reference and config.trainer.device == "cpu":
        of_weights = -(-model.parameters // _ranks(config))
        state["reference model"] = width_of(job.ref.fsdp_config.model_dtype) * of_weights
    (tokens, scored), width = micro_batch_tokens(config), width_of(fsdp.dtype)
    batch = {
        f"activations of {tokens:,} tokens": activations(model, tokens, width, job.model.enable_gradient_checkpointing),
        f"logits of {scored:,}": logits(model, scored, width),
    }
    if config.trainer.device == "cpu":
        gradients = _before_sharing(adapter or model.parameters, model.largest, width)
        moments = [batch, gradients, {"copy of the weights": state["weights"]} if adapter else {}]
        fullest = max(moments, key=lambda moment: sum(moment.values()))
        models = 2 if "reference model" in state else 1  # the reference's, too, stay gathered
        batch = {"gathered weights": models * width * model.parameters} | fullest
    return Process("trainer", state, batch, config.trainer.n_gpus_per_node)


def _before_sharing(trained: int, largest: int, width: int) -> dict[str, int]:
    """What each process on a CPU has at the end of an update, when the activations are gone: gradients of all that is
    trained, added up in float32, and those of the largest part as they were computed.
    """
    return {"gradients before they are shared": 4 * trained + width * min(largest, trained)}


def on_a_cpu(config: DictConfig, model: Shape) -> list[Process]:
    """Everything that a job starts on a machine without GPUs."""
    trains = trainer(config, model)
    trains.estimated["process"] = TRAINER_BASE
    found = [trains, _cpu_engine("engine", config.actor_rollout_ref.rollout, model, trains.count)]
    served = config.reward.reward_model
    if served.enable:
        found.append(_cpu_engine("frozen Solver's engine", served.rollout, model, served.n_gpus_per_node))
    return [*found, Process("the rest", {}, {"processes": OTHERS_BASE})]


def _cpu_engine(name: str, rollout: DictConfig, model: Shape, count: int) -> Process:
    estimated = {
        "KV cache": rollout.engine_kwargs.vllm.kv_cache_memory_bytes,
        "sampler": SAMPLER_BYTES * rollout.max_num_seqs * model.vocabulary,
        "process and its server": ENGINE_BASE + SERVER_BASE,
    }
    return Process(name, {"weights": width_of(rollout.dtype) * model.parameters}, estimated, count)


def on_a_gpu(config: DictConfig, model: Shape, gpu: int) -> dict[str, list[Process]]:
    """What one of the training GPUs, of `gpu` bytes, holds at each moment: {"training": ..., "sampling": ...}.

    While it trains its engines sleep; while they sample, what isn't offloaded stays beside them. vLLM takes all of its
    share, and where that isn't free it does not start. An adapter is added to the weights on the GPU, wherever they lie
    else, while the engine, which then has no cache yet, takes them over.
    """
    job = config.actor_rollout_ref
    fsdp, rollout = job.actor.fsdp_config, job.rollout
    trains = replace(trainer(config, model), count=1)
    state = trains.certain
    adam = 0 if fsdp.optimizer_offload else state["AdamW"]
    stays = {"weights": 0 if fsdp.param_offload else state["weights"], "AdamW": adam}
    weights = width_of(rollout.dtype) * model.parameters // rollout.tensor_model_parallel_size
    share = int(rollout.gpu_memory_utilization * gpu)
    engine = {"weights": weights, "KV cache and the rest of its share": max(0, share - weights)}
    moments = {"training": [trains], "sampling": [Process("trainer", stays, {}), Process("engine", engine, {})]}
    if job.model.lora_rank:
        whole = Process("trainer", {"weights": state["weights"], "AdamW": adam}, {})
        moments["handing over its weights"] = [whole, Process("engine", {"weights": weights}, {})]
    return moments


def _ranks(config: DictConfig) -> int:
    return int(config.trainer.n_gpus_per_node * config.trainer.nnodes)
