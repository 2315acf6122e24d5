"""What coevolve and dry_run say of a model before anything starts."""

import json
import re
from pathlib import Path

import pytest
from test_weights import save

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.engine import jobs, model_check, weights
from verl_rzero.engine.memory import GIB, Process
from verl_rzero.run import model_fits
from verl_rzero.settings import Settings, compose, machine
from verl_rzero.tiny_world.shape import SHAPE
from verl_rzero.tiny_world.tokenizer import make_tokenizer

GIVEN = ("hardware=cpu", "model.build=null", "model.truth=null", "~evaluation.benchmarks.tiny")


@pytest.fixture(autouse=True)
def looked_at_in_this_process(monkeypatch):
    monkeypatch.setattr(model_check, "check", model_check.look_at)  # test_model_check.py has the other process


@pytest.fixture
def model(tmp_path):
    make_tokenizer().save_pretrained(tmp_path)
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 512, **SHAPE}
    (tmp_path / "config.json").write_text(json.dumps({**config, "eos_token_id": 1}))
    save(tmp_path / weights.ONE_FILE, a=[1000, 1000])
    return tmp_path


def given(path: Path | str, *overrides: str) -> Settings:
    return settings.load([*GIVEN, f"model.path={path}", *overrides])


def check(asked: Settings, *roles: str) -> list[str]:
    """All that is looked at, with the jobs of these roles."""
    files = {"model": "m", "train_file": "f", "stage_dir": "run/round_1", "solver": "m"}
    shape = model_fits.shape(asked)
    return model_fits.check(asked, {role: jobs.verl_config(asked, role, **files, shape=shape) for role in roles})


def test_a_model_that_is_built_here_is_not_warned_about(capsys):
    asked = settings.load(["hardware=cpu"])
    lines = check(asked, "challenger", "solver")
    assert capsys.readouterr().out == ""
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == [
        "Memory for the challenger's job",
        "Memory for the solver's job",
    ]


def test_a_model_of_somebody_is_warned_about_and_its_weights_are_counted(model, capsys):
    lines = check(given(model, "hardware.gpus_per_node=1"), "solver")
    said = capsys.readouterr().out.splitlines()
    assert [line.startswith("warning: nothing in the ") for line in said] == [True, True]
    # A million weights: the trainer's 16 bytes and the reference's 4 are 0.02 GiB and not worth a word, but for the
    # process; all of it with the engine's cache, its server, and the rest.
    assert lines[0].startswith("Memory for the solver's job: up to 3.")
    assert lines[1].startswith("  trainer 0.")
    assert lines[2] == "  engine 0.6 GiB: KV cache 0.1, process and its server 0.5"


def test_a_method_without_a_challenger_asks_for_no_question(model, capsys):
    (model / "questions.jsonl").write_text('{"question": "1+1"}')
    check(given(model, "method=ttrl", f"data={model}/questions.jsonl"))
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith("warning: nothing in the solver's prompt")


def test_of_a_model_that_is_not_here_only_the_prompts_are_looked_at(capsys):
    asked = given("nobody/has-this-model")
    assert check(asked, "solver") == []
    first, *warnings = capsys.readouterr().out.splitlines()
    assert first.startswith("nobody/has-this-model is not on this machine yet")
    assert len(warnings) == 2


def test_human_examples_count_as_part_of_the_challengers_prompt(model, tmp_path):
    path = tmp_path / "people.jsonl"
    rows = [{"question": "1+2+3+" * n, "answer": "1"} for n in (1, 6, 5)]
    path.write_text("\n".join(map(json.dumps, rows)))
    # Questions of 6, 36 and 30 tokens. A prompt that shows the two longest has 66 and those around them: <unk> for what
    # people wrote before, <question>, <unk>, </question>, \n\n for each, <|ask|> and the template's <|answer|>.
    asked = given(model, f"anchors.path={path}", "anchors.in_prompt=2", "model.prompt_tokens=60")
    with pytest.raises(UserError, match="model.prompt_tokens=60: the challenger's prompt has ") as error:
        check(asked)
    needed = int(str(error.value).partition("prompt has ")[2].split()[0])
    assert 66 < needed < 90
    check(given(model, f"anchors.path={path}", "anchors.in_prompt=2", f"model.prompt_tokens={needed}"))


def test_more_than_the_machine_has_is_refused_where_certain_and_else_warned_of(capsys):
    parts = [Process("trainer", {"weights": 2 * GIB, "AdamW": 3 * GIB}, {"activations": GIB}, count=2)]
    model_fits.check_fits("Memory", 12 * GIB, parts, "big")
    assert capsys.readouterr().out == ""
    model_fits.check_fits("Memory", 11 * GIB, parts, "big")
    assert "warning: Memory: 11.0 GiB is there, and it may take 12.0 GiB." in capsys.readouterr().out
    with pytest.raises(UserError) as error:
        model_fits.check_fits("Memory", 9 * GIB, parts, "big")
    assert str(error.value).startswith(
        "model=big: Memory: 9.0 GiB is there, and 10.0 GiB the least that it takes "
        "(trainer 2 x 5.0 GiB: weights 2.0, AdamW 3.0)."
    )


def test_a_model_too_large_for_this_machine_is_refused_before_anything_starts(monkeypatch):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 2**20)
    asked = settings.load(["hardware=cpu"])
    with pytest.raises(UserError, match="model=tiny: Memory for the solver's job: 0.0 GiB is there"):
        check(asked, "solver")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")  # the job will run on other machines than this one
    assert check(asked, "solver")


def test_gpus_are_only_judged_where_their_memory_is_known(monkeypatch, capsys):
    asked = settings.load(["hardware=1gpu"])
    monkeypatch.setattr(machine, "gpu_memory_bytes", lambda: None)
    assert check(asked, "solver") == []
    monkeypatch.setattr(machine, "gpu_memory_bytes", lambda: 80 * GIB)
    lines = check(asked, "solver")
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == [
        "Memory of a GPU while the solver is training",
        "Memory of a GPU while the solver is sampling",
    ]
    assert capsys.readouterr().out == ""


def test_the_memory_of_a_gpu_may_be_said(monkeypatch):
    monkeypatch.setattr(machine, "gpu_memory_bytes", lambda: 80 * GIB)
    assert "of 24.0 GiB" in check(settings.load(["hardware=24gb", "hardware.gpu_gib=24"]), "solver")[0]
    monkeypatch.setattr(machine, "gpu_memory_bytes", lambda: None)
    assert "of 22.5 GiB" in check(settings.load(["hardware=24gb", "hardware.gpu_gib=22.5"]), "solver")[0]


def refused(*words: str) -> str:
    with pytest.raises(UserError) as error:
        check(settings.load([*words]), "challenger", "solver")
    return str(error.value)


def test_of_a_model_that_does_not_fit_a_gpu_is_said_what_does(capsys):
    words = ["hardware=24gb", "hardware.gpu_gib=24"]
    said = refused("model=qwen3_8b_base", *words)
    # 16 bytes for each of 8.19 billion weights.
    assert "24.0 GiB is there, and 122.1 GiB the least that it takes (trainer 122.1 GiB: weights 30.5" in said
    # Fullest while it hands over: 4 bytes for each of these and of an adapter's 32 x 36 x (2 x 8192 + 2 x 5120 +
    # 3 x 16,384), and 2 bytes for each weight of the engine.
    assert "With lora.rank=32 it may take 46.1 GiB." in said
    assert "What fits is" not in said
    assert "The nearest model that fits is model=octothinker_3b lora.rank=32." in said
    said = refused("model=qwen3_4b_base", *words)
    way = said.partition("What fits is ")[2].partition(": up to")[0].split()
    assert way == ["lora.rank=32", "hardware.verl.actor_rollout_ref.actor.fsdp_config.model_dtype=bfloat16"]
    capsys.readouterr()
    for fits in (["model=qwen3_4b_base", *way], ["model=octothinker_3b", "lora.rank=32"]):
        assert check(settings.load([*words, *fits]), "challenger", "solver")
        assert "Memory of a GPU" not in capsys.readouterr().out  # no warning either


def test_an_adapter_is_recommended_with_any_method(capsys):
    words = ["hardware=24gb", "hardware.gpu_gib=24", "method=robust"]
    said = refused("model=qwen3_4b_base", *words)
    way = said.partition("What fits is ")[2].partition(": up to")[0].split()
    assert way[0] == "lora.rank=32"
    capsys.readouterr()
    assert check(settings.load([*words, "model=qwen3_4b_base", *way]), "challenger", "solver")
    assert "Memory of a GPU" not in capsys.readouterr().out


ON_GPUS = re.findall(
    r"^\| (\d+) x (\d+) GB \| `(.*)` \| ([\d.]+) GiB ", (Path(__file__).parents[1] / "docs/gpu.md").read_text(), re.M
)


@pytest.mark.parametrize(("gpus", "gib", "words", "fullest"), ON_GPUS)
def test_what_docs_say_of_the_memory_of_a_gpu_is_so(gpus, gib, words, fullest, capsys):
    asked = settings.load([*words.split(), f"hardware.gpu_gib={gib}"])
    assert asked.hardware.gpus_per_node == int(gpus)
    lines = [line for line in check(asked, "challenger", "solver") if line.startswith("Memory of a GPU")]
    found = [float(re.findall(r"up to ([\d.]+) GiB of", line)[0]) for line in lines]
    assert max(found) == pytest.approx(float(fullest), abs=0.11)
    assert "Memory of a GPU" not in capsys.readouterr().out  # no warning


def test_docs_say_it_of_small_and_large_gpus():
    assert {gib for _, gib, _, _ in ON_GPUS} == {"24", "80"}


def test_on_a_large_gpu_an_adapter_is_what_fits_and_it_is_not_recommended_to_who_has_it():
    said = refused("model=qwen3_4b_base", "hardware=1gpu", "hardware.gpu_gib=80")
    assert "What fits is lora.rank=32: up to 55.7 GiB. The nearest model that fits is model=octothinker_3b." in said
    said = refused("model=qwen3_8b_base", "hardware=1gpu", "hardware.gpu_gib=24", "lora.rank=16")
    assert "With lora.rank" not in said


@pytest.mark.parametrize("name", [name for name in compose.choices("model") if "tiny" not in name])
def test_the_memory_of_every_recipe_is_known_before_its_model_is_here(name):
    method = {"ttrl": "ttrl", "az": "absolute_zero"}.get(name.partition("_")[0], "paper")
    asked = settings.load([f"model={name}", f"method={method}", "hardware=8gpu"])
    if asked.model.build is None:
        found = model_fits.shape(asked)
        assert found is not None
        (billions,) = re.findall(r"-([\d.]+)B", str(asked.model.path))
        assert found.parameters / 1e9 == pytest.approx(float(billions), rel=0.1)


def test_a_tensor_that_trained_weights_can_not_travel_in_is_refused_on_a_cpu(model):
    # 17 million weights of 4 bytes are 64.8 MiB. A job makes room for the tensors that config.json speaks of, and for
    # 64 MiB at least; the weights may have others.
    save(model / weights.ONE_FILE, a=[17, 1000, 1000])
    key = "hardware.verl.actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes"
    with pytest.raises(UserError) as error:
        check(given(model), "solver")
    assert str(error.value).startswith(f"{key}=64: the model's largest tensor has 65 MiB")
    assert str(error.value).endswith(f"Write {key}=65.")
    check(given(model, f"{key}=65"), "solver")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.answer_tokens=10000000"], "model.answer_tokens=10000000"),
        (["model=smollm2", "model.question_tokens=9000"], "model.question_tokens=9000"),
        (["method=absolute_zero", "model=code_tiny", "model.prompt_tokens=600"], "model.prompt_tokens=600"),
    ],
)
def test_sequences_longer_than_the_model_that_is_made_are_refused(words, said):
    asked = settings.load(words)
    with pytest.raises(UserError, match=re.escape(said)) as error:
        model_fits.check(asked, {})
    most = int(re.findall(r"Write at most (\d+)", str(error.value))[0])
    name = said.partition("=")[0]
    model_fits.check(settings.load([*words, f"{name}={most}"]), {})
    with pytest.raises(UserError, match="takes"):
        model_fits.check(settings.load([*words, f"{name}={most + 1}"]), {})


def test_where_one_length_alone_is_not_to_blame_all_are_named():
    asked = settings.load(["model.answer_tokens=600", "model.question_tokens=600"])
    with pytest.raises(UserError, match="Write less of the others too"):
        model_fits.check(asked, {})
