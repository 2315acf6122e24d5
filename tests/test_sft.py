"""Supervised fine-tuning: what its settings refuse, what it reads from a file, what verl is given, that it works."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.data import run_dir
from verl_rzero.engine.checkpoints import make_portable
from verl_rzero.settings import compose, schema
from verl_rzero.sft import job, labels
from verl_rzero.sft.__main__ import fine_tune, main
from verl_rzero.sft.dataset import LabelledDataset
from verl_rzero.sft.labels import Labelled, Tokens
from verl_rzero.sft.sft_settings import GROUPS, Sft, load
from verl_rzero.tiny_world import labelled, task
from verl_rzero.tiny_world.tokenizer import VOCABULARY, make_tokenizer

ROOT = Path(__file__).resolve().parents[1]
TINY_PROMPTS = ["prompts.solver_system=null", 'prompts.solver_user="<|solve|>{question}"']


@pytest.fixture
def words(tmp_path) -> list[str]:
    """Settings that are whole: a directory that looks like a model, four labelled questions, and where to put it."""
    (tmp_path / "start").mkdir()
    (tmp_path / "start/config.json").write_text("{}")
    labelled.write(tmp_path / "labels.parquet", 4, 0)
    paths = [f"model={tmp_path / 'start'}", f"data={tmp_path / 'labels.parquet'}", f"to={tmp_path / 'trained'}"]
    return [*paths, "hardware=cpu", "batch_size=2"]


def refused(words: list[str]) -> str:
    with pytest.raises(UserError) as caught:
        load(words)
    return str(caught.value)


def unreadable(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        labels.read(path)
    return str(caught.value)


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# --- settings


def test_the_prompt_is_the_recipe_s_own():
    ours = OmegaConf.load(ROOT / "verl_rzero/config/sft.yaml").prompts
    recipe = OmegaConf.load(ROOT / "verl_rzero/config/coevolve.yaml").prompts
    assert dict(ours) == {key: recipe[key] for key in ("solver_system", "solver_user")}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["model=null"], ["model= or run= is missing"]),
        (["model=/nowhere/at/all"], ["model=/nowhere/at/all", "no such directory"]),
        (["data=null"], ["data= is missing", "jsonl"]),
        (["to=null"], ["to= is missing"]),
        (["epochs=0"], ["epochs=0", "1 or more"]),
        (["lr=0"], ["lr=0", "above 0"]),
        (["warmup=1.5"], ["warmup=1.5", "1 or less"]),
        (["schedule=cosin"], ["schedule=cosine"]),
        (["epoch=2"], ["epoch:", "epochs"]),
        (["hardware=3gpu"], ["hardware=3gpu", "8gpu"]),
        (["hardware=8gpu", "batch_size=12"], ["batch_size=12", "multiple of 8"]),
        (["hardware.nodes=2"], ["hardware.nodes=2", "one machine"]),
        (["hardware.verl.trainer.x=1"], ["hardware.verl", "verl.<key>="]),
        (["prompts.solver_user=Solve"], ["prompts.solver_user=Solve", "{question}"]),
        (["lr=1e-3,1e-4"], ["one value"]),
        (["~lr"], ["~lr", "only key=value"]),
        (["run=/nowhere"], ["run=/nowhere", "settings.yaml"]),
    ],
)
def test_what_is_refused(words, more, expected):
    message = refused([*words, *more])
    assert [word for word in expected if word not in message] == [], message


def test_a_directory_without_a_model_is_refused(words, tmp_path):
    (tmp_path / "start/config.json").unlink()
    assert "no config.json" in refused(words)


def test_a_run_gives_its_last_solver_its_prompts_and_its_lengths(words, tmp_path):
    """Two rounds are done, the third isn't; what is on the command line wins."""
    run = tmp_path / "run"
    for t in (1, 2, 3):
        solver = run / f"round_{t}/solver"
        (solver / "model").mkdir(parents=True)
        (solver / "model/config.json").write_text("{}")
        (solver / run_dir.RESULT).write_text('{"model": "model"}')
        if t < 3:
            (solver / run_dir.DONE).touch()
    settings.save(settings.load(["model.answer_tokens=100"]), run / run_dir.SETTINGS)
    data_and_to = words[1:]
    asked = load([f"run={run}", *data_and_to])
    assert asked.model == str(run / "round_2/solver/model")
    assert (asked.prompts.solver_system, asked.prompts.solver_user) == (None, "<|solve|>{question}")
    assert asked.max_tokens == 40 + 32 + 100
    given = load([f"run={run}", *words, 'prompts.solver_user="Q: {question}"', "max_tokens=9"])
    assert (given.model, given.prompts.solver_user) == (str(tmp_path / "start"), "Q: {question}")
    assert (given.prompts.solver_system, given.max_tokens) == (None, 9)
    (run / "base/model/model").mkdir(parents=True)
    (run / "base/model/model/config.json").write_text("{}")
    (run / "round_2/solver" / run_dir.RESULT).write_text('{"model": "../../base/model/model"}')  # it was not trained
    assert load([f"run={run}", *data_and_to]).model == str(run / "base/model/model")
    for t in (1, 2):
        (run / f"round_{t}/solver" / run_dir.DONE).unlink()
    assert "no trained Solver yet" in refused([f"run={run}", *data_and_to])


def test_commands_in_the_documentation_have_possible_settings():
    pages = [path.read_text().replace("\\\n", " ") for path in (ROOT / "docs/sft.md", ROOT / "recipes/README.md")]
    commands = [line for page in pages for line in re.findall(r"bash recipes/run_sft\.sh([^\n`#]*=[^\n`#]*)", page)]
    assert len(commands) >= 3
    for command in commands:
        words = ["hardware=cpu", *shlex.split(command)]
        assert schema.build(Sft, compose.from_files("sft", words, GROUPS)).to is not None


# --- labelled data


def test_a_response_is_the_solution_and_ends_in_a_box(tmp_path):
    path = jsonl(
        tmp_path / "a.jsonl",
        {"question": "1+1?", "answer": "2", "solution": "One and one: \\boxed{2}.\n"},
        {"question": "half?", "answer": 0.5, "solution": "A half is \\boxed{\\frac{1}{2}}"},
        {"question": "2+2?", "answer": 4, "solution": "Four."},
        {"question": "3+3?", "answer": 6, "solution": None},
    )
    assert labels.read(path) == [
        Labelled("1+1?", "One and one: \\boxed{2}."),
        Labelled("half?", "A half is \\boxed{\\frac{1}{2}}"),
        Labelled("2+2?", "Four.\n\n\\boxed{4}"),
        Labelled("3+3?", "\\boxed{6}"),
    ]


def test_parquet_with_working_and_other_columns(tmp_path):
    columns = {"id": [7], "question": ["1+1"], "answer": ["2"], "working": ["1+1=2,\\boxed{2}"]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert labels.read(tmp_path / "a.parquet") == [Labelled("1+1", "1+1=2,\\boxed{2}")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "no row"),
        ('{"question": "1+1"}\n', "no answer"),
        ('{"problem": "1+1", "answer": "2"}\n', "columns answer, problem, but no question"),
        ('{"question": "1+1", "answer": "2"}\n{"question": "", "answer": "2"}\n', "row 2 has no question"),
        ('{"question": "1+1", "answer": "2"}\n{"question": "1"}\n', "row 2 has no answer"),
        ('{"question": "1+1", "answer": "2", "solution": "\\\\boxed{3}"}\n', "row 1's solution boxes 3"),
        ('{"question": "1+1", "answer": "2", "solution": "a", "working": "b"}\n', "both columns solution and working"),
        ('{"question": "1+1"\n', "line 1 is not JSON"),
        ("[1]\n", "line 1 is not a JSON object"),
    ],
)
def test_bad_rows(tmp_path, content, expected):
    (tmp_path / "a.jsonl").write_text(content)
    message = unreadable(tmp_path / "a.jsonl")
    assert expected in message
    assert f"data={tmp_path / 'a.jsonl'}" in message


def test_bad_files(tmp_path):
    assert "no such file" in unreadable(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_text("text")
    assert "no parquet file" in unreadable(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("question,answer\n")
    assert ".parquet nor in .jsonl" in unreadable(tmp_path / "a.csv")
    for columns, expected in (({"question": [], "answer": []}, "no row"), ({"q": ["1"]}, "columns q, but no question")):
        pq.write_table(pa.table(columns), tmp_path / "b.parquet")
        assert expected in unreadable(tmp_path / "b.parquet")


def test_too_few_rows_for_a_batch(words):
    with pytest.raises(UserError, match=r"batch_size=5: .*4 rows.*Write batch_size=4\."):
        fine_tune(load([*words, "batch_size=5", "hardware.gpus_per_node=1"]))


# --- tokens and the loss mask


def test_the_loss_is_on_the_solution_and_its_end_only(tmp_path):
    """Seven prompt tokens and twelve of the working, the box and the end."""
    prompt = [{"role": "user", "content": "<|solve|>7+3+9"}]
    one = labels.tokens(make_tokenizer(), prompt, "9+3=12,\\boxed{12}")
    symbols = ["<|solve|>", "7", "+", "3", "+", "9", "<|answer|>"]
    written = ["9", "+", "3", "=", "1", "2", ",", "\\boxed{", "1", "2", "}", "<eos>"]
    assert one == Tokens([VOCABULARY[s] for s in symbols], [VOCABULARY[s] for s in written])
    labels.write(tmp_path / "train.parquet", [one], seed=0)
    row = LabelledDataset(str(tmp_path / "train.parquet"), None, None, None, -1)[0]
    assert row["input_ids"].tolist() == one.prompt_ids + one.response_ids
    assert row["loss_mask"].tolist() == [0] * 7 + [1] * 12
    assert row["position_ids"].tolist() == list(range(19))


def test_verl_takes_the_loss_where_the_mask_says(tmp_path):
    """verl's own sft_loss on two rows whose log-probabilities are -1 for prompt tokens and -2, -3 for responses.

    verl's log_probs[t] is of token t+1, so row 1 of prompt 2 and response 1 has its loss at t=1, and row 2 of prompt 1
    and response 2 at t=0 and t=1: (2 + 3 + 3) / 3 learned tokens.
    """
    from verl.utils import tensordict_utils as tu
    from verl.utils.dataset.dataset_utils import DatasetPadMode, SFTTensorCollator
    from verl.workers.utils.losses import sft_loss

    labels.write(tmp_path / "t.parquet", [Tokens([1, 2], [3]), Tokens([4], [5, 6])], seed=0)
    dataset = LabelledDataset(str(tmp_path / "t.parquet"), None, None, None, -1)
    rows = sorted((dataset[i] for i in range(2)), key=lambda row: int(row["input_ids"][0]))
    batch = SFTTensorCollator(DatasetPadMode.NO_PADDING)(rows)
    data = tu.get_tensordict(batch, {"dp_size": 1, "batch_num_tokens": 3, "pad_mode": DatasetPadMode.NO_PADDING})
    log_probs = torch.nested.nested_tensor([[-1.0, -2.0, -9.0], [-3.0, -3.0, -9.0]], layout=torch.jagged)
    loss, _ = sft_loss(None, {"log_probs": log_probs}, data)
    assert loss.item() == pytest.approx(8 / 3)


def test_rows_that_are_too_long_are_refused_with_the_number_that_fits():
    rows = [Tokens([1], [2]), Tokens([1, 2], [3, 4]), Tokens([1, 2], [3])]
    labels.check_lengths("f", rows, 4)
    with pytest.raises(UserError, match=r"2 of its 3 rows .*max_tokens=2 .*row 2 is the first.*max_tokens=4"):
        labels.check_lengths("f", rows, 2)


def test_the_seed_decides_the_order(tmp_path):
    rows = [Tokens([i], [i]) for i in range(20)]

    def order(seed: int) -> list[int]:
        labels.write(tmp_path / "t.parquet", rows, seed)
        return [row[0] for row in pq.read_table(tmp_path / "t.parquet")["prompt_ids"].to_pylist()]

    assert sorted(order(0)) == list(range(20))
    assert order(0) == order(0)
    assert order(0) != order(1)


# --- the tiny world's labels


def test_tiny_labels_are_true_not_held_out_and_nested():
    drawn = labelled.draw(400, 3)
    assert len({question for question, _ in drawn}) == 400
    assert labelled.draw(100, 3) == drawn[:100]
    assert {task.level(question) for question, _ in drawn} == {1, 2, 3, 4, 5, 6, 7}
    for question, solution in drawn:
        assert not task.is_held_out(question)
        first, *steps = solution.removesuffix(f",\\boxed{{{task.truth(question)}}}").split("+")
        partial, terms = int(first), [first]
        for step in steps:
            term, result = step.split("=")
            assert int(result) == (partial + int(term)) % 45
            partial, terms = int(result), [*terms, term]
        assert sorted(terms) == sorted(question.split("+"))


# --- verl's configuration


def composed(words: list[str], *more: str):
    return job.verl_config(load([*words, *more]), "train.parquet", "checkpoints")


def test_what_verl_is_told(words):
    config = composed(words, "lr=2e-4", "epochs=5", "seed=7", "schedule=constant", "warmup=0.2", "max_tokens=144")
    assert (config.optim.lr, config.optim.lr_scheduler_type, config.optim.lr_warmup_steps_ratio) == (
        2e-4,
        "constant",
        0.2,
    )
    assert (config.trainer.total_epochs, config.data.train_batch_size, config.engine.seed) == (5, 2, 7)
    assert (config.model.path, config.data.train_files, config.data.val_files) == (
        words[0].removeprefix("model="),
        "train.parquet",
        None,
    )
    assert config.model.override_config.attn_implementation == "packed_sdpa"
    assert (config.engine.dtype, config.trainer.device, config.trainer.n_gpus_per_node) == ("float32", "cpu", 2)
    assert (config.trainer.resume_mode, list(config.checkpoint.save_contents)) == ("disable", ["hf_model"])


def test_for_gpus(words):
    config = composed(words, "hardware=8gpu", "batch_size=64", "max_tokens=20000")
    assert (config.engine.dtype, config.trainer.device, config.trainer.n_gpus_per_node) == ("bfloat16", "cuda", 8)
    assert config.model.override_config.attn_implementation in ("flash_attention_2", "sdpa")
    assert config.model.enable_gradient_checkpointing
    assert config.data.max_token_len_per_gpu >= config.data.max_length == 20000


def test_any_key_of_verl_s_sft_configuration(words):
    assert composed(words, "verl.optim.clip_grad=0.5").optim.clip_grad == 0.5
    assert composed(words, "verl.model.override_config.x=1").model.override_config.x == 1
    with pytest.raises(UserError, match=r"verl\.optim\.clip_gard.*verl\.optim\.clip_grad"):
        composed(words, "verl.optim.clip_gard=0.5")


def test_verl_accepts_it(words):
    """Its own dataclasses, with the model's left out: that one loads the model."""
    from verl.utils.config import omega_conf_to_dataclass

    for hardware in ("cpu", "1gpu", "2gpu", "4gpu", "8gpu"):
        config = composed(words, f"hardware={hardware}", "batch_size=8")
        OmegaConf.resolve(config)
        for node in ("engine", "optim", "checkpoint", "profiler"):
            omega_conf_to_dataclass(config[node])


# --- the model that comes out


@pytest.mark.parametrize("of_start", [{"dtype": "float32"}, {"torch_dtype": "float32"}])
def test_a_trained_model_forgets_the_machine_that_trained_it(tmp_path, of_start):
    for name, config in (
        ("start", of_start),
        ("trained", {"dtype": "bfloat16", "attn_implementation": "packed_sdpa", "vocab_size": 24}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    make_portable(tmp_path / "trained", tmp_path / "start")
    assert json.loads((tmp_path / "trained/config.json").read_text()) == {"dtype": "float32", "vocab_size": 24}
    make_portable(tmp_path / "trained", "owner/name")
    assert json.loads((tmp_path / "trained/config.json").read_text()) == {"dtype": "float32", "vocab_size": 24}


# --- the command


def test_an_error_is_one_line_and_exit_code_2(words, capsys):
    assert main([*words, "epochs=0"]) == 2
    assert capsys.readouterr().err.startswith("error: epochs=0")


def test_help_names_every_key(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "  lr=1e-05\n" in text
    assert "  prompts.solver_user={question}\n" in text


def test_what_somebody_else_wrote_is_left_alone(words, tmp_path):
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained/file").write_text("theirs")
    with pytest.raises(UserError, match="something already"):
        fine_tune(load(words))
    assert (tmp_path / "trained/file").read_text() == "theirs"


@pytest.mark.e2e
def test_a_fine_tuning_from_its_command_to_a_model(tmp_path, capsys):
    """verl's trainer under torchrun on the CPU: the loss falls, the result is a Hugging Face model that does as it was
    shown. A second start leaves it, other settings are refused.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = Qwen3Config(
        vocab_size=len(tokenizer), head_dim=32, intermediate_size=64, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_position_embeddings=512, **shape,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(tmp_path / "start")
    tokenizer.save_pretrained(tmp_path / "start")
    jsonl(tmp_path / "labels.jsonl", *[{"question": "1+2", "answer": "3", "solution": "1+2=3,\\boxed{3}"}] * 10)
    words = [
        f"model={tmp_path / 'start'}", f"data={tmp_path / 'labels.jsonl'}",
        f"to={tmp_path / 'trained'}", "hardware=cpu", "batch_size=4", "epochs=10", "lr=1e-2", "max_tokens=64",
        *TINY_PROMPTS,
    ]  # fmt: skip
    # The checkout first, so that verl finds our plug-in where it isn't installed.
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "VERL_USE_EXTERNAL_MODULES": "verl_rzero.engine.cpu.plugin"}
    command = [sys.executable, "-m", "verl_rzero.sft", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = json.loads((tmp_path / "trained/sft.json").read_text())
    losses = [update["loss"] for update in made["updates"]]
    assert len(losses) == 10 * (10 // 4)  # of ten rows, verl leaves out the two that fill no batch in each epoch
    assert made["learned_tokens"] == 10 * 10  # 1 + 2 = 3 , \boxed{ 3 } <eos>
    assert losses[0] > 2.5  # close to ln 24 = 3.2, a guess among all tokens
    assert losses[-1] < 0.5
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "trained")
    trained_tokenizer = AutoTokenizer.from_pretrained(tmp_path / "trained")
    prompt = trained_tokenizer("<|solve|>1+2<|answer|>", return_tensors="pt", return_token_type_ids=False)
    written = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert trained_tokenizer.decode(written) == "1+2=3,\\boxed{3}<eos>"
    assert not (tmp_path / "trained.partial").exists()
    assert main(words) == 0
    assert "done before" in capsys.readouterr().out
    assert main([*words, "epochs=9"]) == 2
    assert "settings.epochs" in capsys.readouterr().err
