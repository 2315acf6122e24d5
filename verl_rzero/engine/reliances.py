"""What we rely on inside verl, vLLM and TransferQueue: a table, which `guards.check` compares with what is installed.

Their documented interfaces are not in it. Here stands what a later release may change without a word: classes that we
replace or subclass, private methods that we override, attributes that we read or set, formats that we write or rewrite.
The patches for a CPU go further and accept only the versions that they were made for (`engine/cpu/patches.py`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reliance:
    """One thing of theirs that one file of ours relies on. Lists of names are separated by spaces.

    ours: the file, in `verl_rzero/engine/`.
    theirs: "module:name" of a function, a method or a class.
    use: what we do with it.
    parameters: all its parameters, in order; None where they don't matter.
    accepts: parameters that we pass by name.
    mentions: names and texts that stand in its code, of a class in any of its methods.
    """

    ours: str
    theirs: str
    use: str
    parameters: str | None = None
    accepts: str = ""
    mentions: str = ""


_TRAINER = "verl.trainer.ppo.v1.trainer_base:PPOTrainer"
_BUFFER = "verl.trainer.ppo.v1.replay_buffer:ReplayBuffer"
_AGENTS = "verl.trainer.ppo.v1.agent_loop_tq:AgentLoopWorkerTQ"
_SERVERS = "verl.workers.rollout.vllm_rollout.vllm_async_server:"
_VLLM = "verl.workers.rollout.vllm_rollout."
_REPLICA = "verl.workers.rollout.replica:"
_WORKERS = "verl.workers.engine_workers:"
_ENGINE = "verl.workers.engine.fsdp.transformer_impl:FSDPEngineWithLMHead"
_REWARDS = "verl.experimental.reward_loop."
_MANAGERS = "challenger_manager.py, solver_manager.py"
_SOCKET = "ipc:///tmp/rl-colocate-zmq- -replica- -rank- .sock"

# fmt: off
RELIANCES = (
    Reliance("rollouts.py", f"{_REPLICA}RolloutReplicaRegistry.register",
             "registers our replica in place of verl's", parameters="name loader"),
    Reliance("rollouts.py", f"{_REPLICA}get_rollout_replica_class",
             "our replica is the one that is started", mentions="RolloutReplicaRegistry get"),
    Reliance("rollouts.py", f"{_SERVERS}vLLMReplica.__init__",
             "puts our server's class in place of verl's", mentions="server_class"),
    Reliance("rollouts.py", f"{_SERVERS}vLLMReplica.launch_servers",
             "our server is the one that is started", mentions="server_class launch_server"),
    Reliance("rollouts.py", f"{_SERVERS}vLLMHttpServer.launch_server",
             "overrides it, to start the engine from the warm server",
             parameters="self master_address master_port dp_rpc_port"),
    Reliance("rollouts.py", f"{_SERVERS}vLLMHttpServer",
             "reads its engine, and the version of the weights", mentions="engine global_steps"),
    Reliance("rollouts.py", "vllm.v1.engine.async_llm:AsyncLLM.generate",
             "samples with it, past verl's own generate", accepts="prompt sampling_params request_id"),
    Reliance("rollouts.py", "vllm.v1.engine.async_llm:AsyncLLM.abort",
             "cuts off what is not waited for", accepts="request_id"),
    Reliance("rollouts.py", "vllm.v1.engine.output_processor:OutputProcessor.abort_requests",
             "a sample that is cut off holds what there is", mentions="external_req_ids make_request_output ABORT"),
    Reliance("rollouts.py", "vllm:SamplingParams",
             "only ended samples, without text",
             accepts="seed output_kind detokenize flat_logprobs temperature top_p top_k max_tokens logprobs"),
    Reliance("rollouts.py", "vllm.logprobs:FlatLogprobs",
             "reads log-probabilities", accepts="start_indices end_indices token_ids logprobs"),
    Reliance("rollouts.py", "vllm.outputs:CompletionOutput",
             "reads samples", accepts="token_ids logprobs finish_reason"),
    Reliance("worker.py", f"{_VLLM}vllm_rollout:ServerAdapter.__init__",
             "rewrites the job in the socket's path (trainer's side)", mentions=f"zmq_handle {_SOCKET}"),
    Reliance("worker.py", f"{_VLLM}vllm_rollout:ServerAdapter.update_weights",
             "the path is read at each sync", mentions="zmq_handle"),
    Reliance("rollouts.py", f"{_SERVERS}vLLMHttpServer.__init__",
             "rewrites the job in the environment (server's side)", mentions="VERL_RAY_JOB_ID"),
    Reliance("rollouts.py", f"{_VLLM}utils:vLLMColocateWorkerExtension._get_zmq_handle",
             "vLLM's worker makes the same path of it", mentions=f"VERL_RAY_JOB_ID {_SOCKET}"),
    Reliance("worker.py", f"{_WORKERS}ActorRolloutRefWorker.init_model",
             "overrides it, to put another class in place of ref_worker_cls and rename the socket", parameters="self",
             mentions="ref_worker_cls rollout"),
    Reliance("worker.py", f"{_VLLM}bucketed_weight_transfer:BucketedWeightSender",
             "its sockets stop waiting when we say so", mentions="Context instance recv"),
    Reliance("worker.py", f"{_WORKERS}ActorRolloutRefWorker.update_weights",
             "wakes a sleeping engine's weights, syncs, then wakes its cache",
             mentions="free_cache_engine resume weights kv_cache update_weights"),
    Reliance("rollouts.py", f"{_SERVERS}vLLMHttpServer.sleep",
             "only engines that share a GPU sleep", mentions="free_cache_engine HYBRID COLOCATED STANDALONE sleep"),
    Reliance("rollouts.py", f"{_SERVERS}vLLMHttpServer.wake_up",
             "and wake before they sample", mentions="HYBRID COLOCATED wake_up reset_prefix_cache"),
    Reliance("jobs.py", f"{_REWARDS}reward_model:RewardModelManager.__init__",
             "the frozen Solver sleeps only where this says so", mentions="free_cache_engine sleep"),
    Reliance("trainer.py", "verl.utils.checkpoint.fsdp_checkpoint_manager:FSDPCheckpointManager.save_checkpoint",
             "reads how many processes wrote a checkpoint", mentions="fsdp_config.json world_size"),
    Reliance("checkpoints.py", "verl.utils.checkpoint.fsdp_checkpoint_manager:FSDPCheckpointManager.save_checkpoint",
             "takes the adapter out of what it saves of a model with one",
             mentions="huggingface get_fsdp_full_state_dict save_pretrained should_save_lora_only"),
    Reliance("jobs.py", "verl.workers.engine.fsdp.transformer_impl:FSDPEngine.get_per_tensor_param",
             "sends the engines whole weights, the adapter added to them",
             mentions="merge _merged_lora_per_tensor_param"),
    Reliance("jobs.py", f"{_TRAINER}._compute_ref_log_prob",
             "with an adapter, the reference is the model without", mentions="ref_in_actor no_lora_adapter"),
    Reliance("trainer.py", "verl.single_controller.ray.base:RayWorkerGroup",
             "watches the trainers", mentions="_workers"),
    Reliance("worker.py", f"{_WORKERS}TrainingWorker.__init__",
             "makes one with other weights, as the reference", parameters="self config", mentions="model_config"),
    Reliance("worker.py", "verl.workers.config:HFModelConfig",
             "sets the reference's directory", accepts="path local_path use_shm tokenizer"),
    Reliance("cpu/training.py", "verl.workers.engine:EngineRegistry.register",
             "registers our engine for CPUs", accepts="model_type backend device", mentions="_engines"),
    Reliance("cpu/training.py", f"{_ENGINE}.prepare_model_inputs",
             "overrides it, to ask for fewer logits", parameters="self micro_batch",
             mentions="input_ids_rmpad_rolled temperature_rmpad input_ids"),
    Reliance("cpu/training.py", f"{_ENGINE}.prepare_model_outputs",
             "overrides it, to put them in their places",
             parameters="self output output_args micro_batch logits_processor_func", mentions="input_ids offsets"),
    Reliance("cpu/training.py", "verl.workers.engine.fsdp.transformer_impl:FSDPEngine.forward_backward_batch",
             "overrides it, to say which rows stay together", parameters="self data loss_function forward_only",
             mentions="prepare_micro_batches"),
    Reliance("cpu/training.py", "verl.workers.engine.utils:prepare_micro_batches",
             "keeps them together", mentions="force_group_size use_dynamic_bsz max_token_len_per_gpu"),
    Reliance("cpu/training.py", "verl.workers.utils.padding:no_padding_2_padding",
             "only these places are read of what the engine returns", mentions="prompts responses offsets"),
    Reliance("trainer.py", f"{_TRAINER}._init_resource_pool_mgr",
             "overrides it, to put our worker in place of verl's", parameters="self", mentions="role_worker_mapping"),
    Reliance("trainer.py", f"{_TRAINER}._setup",
             "our worker is the one that is started; reads the managers",
             mentions="_init_resource_pool_mgr role_worker_mapping reward_loop_manager llm_server_manager"),
    Reliance("trainer.py", f"{_TRAINER}._step_once",
             "what we override is what a step calls",
             mentions="on_sample_begin sample _compute_ref_log_prob _compute_advantage _update_actor"),
    Reliance("trainer.py", f"{_TRAINER}.fit",
             "the loop; reads its attributes", parameters="self agent_loop_manager",
             mentions="agent_loop_manager timing_raw global_steps total_training_steps on_train_begin "
                      "_compute_metrics"),
    Reliance("trainer.py", f"{_TRAINER}._load_checkpoint",
             "overrides it, to put the sampler where it stood", parameters="self",
             mentions="resume_mode global_steps default_local_dir global_step_ find_latest_ckpt_path"),
    Reliance("trainer.py", f"{_TRAINER}._save_checkpoint",
             "overrides it, to write where the sampler stands before the checkpoint counts", parameters="self",
             mentions="default_local_dir global_step_ latest_checkpointed_iteration.txt"),
    Reliance("trainer.py", f"{_TRAINER}.on_train_begin", "overrides it, to begin the progress", parameters="self"),
    Reliance("trainer.py", f"{_TRAINER}.on_sample_begin",
             "overrides it, to wait for the rollouts", parameters="self"),
    Reliance("trainer.py", f"{_TRAINER}._balance_batch",
             "overrides it, to keep the responses to a prompt together",
             parameters="self batch metrics logging_prefix keep_minibatch",
             mentions="actor_rollout_wg _dispatch_info actor tags seq_len reorder"),
    Reliance("trainer.py", f"{_TRAINER}._compute_ref_log_prob",
             "overrides it, to send the worker only what it reads", parameters="self batch metrics",
             mentions="ref_log_prob"),
    Reliance("trainer.py", f"{_TRAINER}._update_actor",
             "overrides it, to send the worker only what it reads", parameters="self batch metrics"),
    Reliance("trainer.py", "verl.utils.transferqueue_utils:async_kv_batch_meta2batch_meta",
             "sets `fields` of a batch, the columns that are sent", mentions="fields select_fields"),
    Reliance("trainer.py", f"{_TRAINER}._compute_advantage",
             "overrides it, to change the rewards just before", parameters="self batch metrics",
             mentions="rm_scores old_log_probs rollout_log_probs"),
    Reliance("trainer.py", f"{_TRAINER}._compute_reward_colocate",
             "reads our reward manager's columns, which it stores where the Solver shares the GPUs",
             mentions="prompts responses raw_prompt rm_scores reward_extra_keys"),
    Reliance("trainer.py", f"{_TRAINER}._compute_metrics",
             "overrides it, to write the metrics file", parameters="self batch metrics timing_raw global_steps epoch"),
    Reliance("trainer.py", "verl.trainer.ppo.metric_utils:compute_data_metrics",
             "reads the metrics",
             mentions="critic/rewards/mean critic/advantages/mean response_length/mean response_length/clip_ratio"),
    Reliance("trainer.py", f"{_TRAINER}.__init__",
             "reads both", mentions="use_reference_policy replay_buffer"),
    Reliance("trainer.py", f"{_BUFFER}._wait_for_next_poll",
             "sets how often it looks", mentions="poll_interval"),
    Reliance("trainer.py", "verl.workers.rollout.llm_server:LLMServerManager._initialize_llm_servers",
             "reads the servers' handles", mentions="server_handles"),
    Reliance("trainer.py", f"{_REWARDS}reward_loop:RewardLoopManager",
             "reads the frozen Solver's handles", mentions="reward_model_manager reward_loop_worker_handles"),
    Reliance("trainer.py", f"{_REWARDS}reward_model:RewardModelManager._initialize_llm_servers",
             "reads the frozen Solver's handles", mentions="server_handles"),
    Reliance("trainer.py", f"{_REWARDS}reward_model:RewardModelManager.wake_up",
             "wakes the frozen Solver after training", parameters="self", mentions="rollout_replicas wake_up"),
    Reliance("trainer.py", "verl.checkpoint_engine.base:CheckpointEngineManager.sleep_replicas",
             "puts the engines in training to sleep before that", parameters="self"),
    Reliance("trainer.py", f"{_TRAINER}._compute_reward_colocate",
             "in a step verl does the same", mentions="reward_loop_manager compute_rm_score"),
    Reliance("grpo.py", f"{_TRAINER}._save_checkpoint",
             "finds the trained model", mentions="latest_checkpointed_iteration.txt global_step_ actor"),
    Reliance("batches.py", f"{_TRAINER}._submit_batch_to_rollout",
             "is called by it", mentions="agent_loop_manager generate_sequences uid train"),
    Reliance("batches.py", f"{_TRAINER}._next_train_batch",
             "reads the step of the prompts", mentions="global_steps"),
    Reliance("batches.py", f"{_AGENTS}._agent_loop_postprocess",
             "writes the same tags and columns",
             mentions="status success prompt_len response_len seq_len global_steps min_global_steps "
                      "max_global_steps prompts responses response_mask loss_mask input_ids position_ids train"),
    Reliance("batches.py", "verl.experimental.agent_loop.agent_loop:AgentLoopOutput.as_dict",
             "writes the same columns", mentions="prompts responses response_mask rollout_log_probs rm_scores"),
    Reliance("batches.py", f"{_AGENTS}._run_prompt",
             "marks prompts as verl does", mentions="uid status finished train"),
    Reliance("batches.py", f"{_BUFFER}._sync_metadata_from_transfer_queue",
             "prompts are found by these tags", mentions="is_prompt status finished global_steps"),
    Reliance("batches.py", f"{_BUFFER}._materialize_batch",
             "a sample's key begins with its prompt's", mentions="split _"),
    Reliance("batches.py", f"{_TRAINER}._compute_advantage",
             "advantages compare responses of one uid, in which column a sampler's groups stand", mentions="uid"),
    Reliance("advantages.py", "verl.trainer.ppo.ray_trainer:compute_advantage",
             "hands that column to advantages", mentions="uid index"),
    Reliance("advantages.py", "verl.trainer.ppo.core_algos:register_adv_est",
             "registers ours", parameters="name_or_enum"),
    Reliance("advantages.py", "verl.utils.torch_functional:masked_whiten",
             "normalises with it", parameters="values mask shift_mean"),
    Reliance("batches.py", "transfer_queue:kv_batch_put",
             "writes the store", accepts="keys partition_id tags fields"),
    Reliance("trainer.py", "transfer_queue:kv_batch_get",
             "reads the store", accepts="keys partition_id select_fields"),
    Reliance("batches.py", f"{_REWARDS}reward_loop:RewardLoopWorker.compute_score_batch",
             "asks for rewards by it", parameters="self data"),
    Reliance(_MANAGERS, f"{_REWARDS}reward_manager.base:RewardManagerBase.__init__",
             "calls it", parameters="self config tokenizer compute_score"),
    Reliance(_MANAGERS, f"{_REWARDS}reward_manager.base:RewardManagerBase.run_single",
             "overrides it", parameters="self data"),
    Reliance(_MANAGERS, f"{_REWARDS}reward_loop:RewardLoopWorker._init_reward_fn",
             "takes what it passes", mentions="reward_router_address reward_model_tokenizer"),
    Reliance(_MANAGERS, "verl.trainer.ppo.reward:load_reward_manager",
             "takes what it passes", mentions="config tokenizer compute_score"),
    Reliance("engines.py", f"{_REPLICA}RolloutReplica.__init__",
             "starts replicas", accepts="replica_rank config model_config gpus_per_node"),
    Reliance("engines.py", f"{_REPLICA}RolloutReplica.init_standalone",
             "starts replicas", parameters="self"),
    Reliance("environment.py", "ray._private.services:get_node_ip_address",
             "keeps Ray and the engines' servers at 127.0.0.1", mentions="ENABLE_RAY_CLUSTER get_localhost_ip"),
    Reliance("nodes.py", "ray._private.state:available_resources_per_node",
             "says which GPUs are free", parameters=""),
    Reliance("engines.py, grpo.py", "verl.trainer.constants_ppo:get_ppo_ray_runtime_env",
             "Ray's environment", parameters="config", mentions="env_vars"),
)
