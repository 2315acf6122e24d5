"""What settings come out of the command line, and what is refused with which words."""

import dataclasses

import pytest

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.rules.uncertainty import ALL_FORMS
from verl_rzero.settings import compose, schema
from verl_rzero.settings import parts as settings_parts


def refused(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        settings.load(list(overrides))
    return str(caught.value)


def test_the_default_is_the_tiny_model_on_a_cpu():
    loaded = settings.load([])
    assert (loaded.run_dir, loaded.rounds, loaded.votes, loaded.candidates) == ("runs/tiny", 3, 10, 500)
    assert (loaded.model.build, loaded.hardware.device, loaded.band) == ("tiny_world", "cpu", (0.25, 0.75))


def test_the_command_line_wins_over_the_groups():
    assert settings.load(["candidates=7", "solver.steps=2"]).candidates == 7


def test_any_key_of_verl_may_be_set_below_verl():
    loaded = settings.load(["solver.verl.actor_rollout_ref.actor.optim.lr=1e-6", "+hardware.verl.trainer.new=x"])
    assert loaded.solver.verl == {"actor_rollout_ref": {"actor": {"optim": {"lr": 1e-6}}}}
    assert loaded.hardware.verl["trainer"]["new"] == "x"


def test_a_benchmark_needs_no_more_than_its_name_or_its_path(tmp_path):
    (tmp_path / "mine.jsonl").touch()
    words = ["evaluation.benchmarks.math500={}", f"evaluation.benchmarks.mine.path={tmp_path}/mine.jsonl"]
    loaded = settings.load([*words, "evaluation.benchmarks.tiny.n=32", "evaluation.k=3"]).evaluation
    assert loaded.benchmarks == {
        "tiny": settings.Benchmark(None, 32, None, None),
        "math500": settings.Benchmark(None, None, None, None),
        "mine": settings.Benchmark(f"{tmp_path}/mine.jsonl", None, None, None),
    }
    # k: the benchmark's own, else the table's, else evaluation.k
    assert [loaded.k_of(name) for name in ("tiny", "math500", "mine")] == [3, 4, 3]
    loaded = settings.load([*words, "evaluation.benchmarks.math500.k=0"]).evaluation
    assert loaded.k_of("math500") == 0


def test_a_saved_file_reads_back_equal(tmp_path):
    loaded = settings.load(["challenger.lr=1e-7", "challenger.floor=null", "solver.verl.a.b=[1, x, null]"])
    latex = dataclasses.replace(loaded.prompts, solver_user="Find ${n \\choose k}$ for {question}\n: 'a'")
    loaded = dataclasses.replace(loaded, prompts=latex)
    settings.save(loaded, tmp_path / "settings.yaml")
    assert settings.read(tmp_path / "settings.yaml") == loaded


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["vots=3"], ["vots", "no such key", "votes"]),
        (["chalenger.steps=3"], ["chalenger.steps", "challenger.steps"]),
        (["challenger.step=3"], ["challenger.step:", "challenger.steps"]),
        (["votes.x=3"], ["votes"]),
        (["modle=tiny"], ["modle", "model"]),
        (["evaluation.benchmarks.tiny.pth=x"], ["evaluation.benchmarks.tiny.path"]),
        (["evaluation.choose_by=tiny_choice"], ["choose_by=tiny_choice", "(tiny)", "benchmarks.tiny_choice="]),
        (["evaluation.choose_by=tiny"], ["choose_by=tiny", "the only benchmark", "docs/monitoring.md"]),
        (["monitors.early_stop_rounds=2"], ["early_stop_rounds=2", "evaluation.choose_by"]),
        (["monitors.on_alarm=stopp"], ["on_alarm=stopp", "monitors.on_alarm=stop"]),
        (["monitors.length_change=1"], ["length_change=1", "above 1"]),
        (["votes=1"], ["votes=1", "2 or more", "votes=2"]),
        (["dataset_votes=1"], ["dataset_votes=1", "2 or more"]),
        (["band=[0.51, 0.59]"], ["band=[0.51, 0.59]", "of 10 answers", "band=[0.5, 0.59]"]),
        (["rounds=1000000000"], ["rounds=1000000000", "1000 or less"]),
        (["logger=[wandbb]"], ["logger=wandbb", "logger=wandb."]),
        (["hardware=cpu", "hardware.tensor_parallel=8"], ["hardware.tensor_parallel=8", "tensor_parallel=1"]),
        (["model.question_tokens=1"], ["model.question_tokens=1", "8 or more"]),
        (["model.prompt_tokens=1"], ["model.prompt_tokens=1", "4 or more"]),
        (["votes=ten"], ["votes=ten", "whole number"]),
        (["votes=2.5"], ["votes=2.5", "whole number"]),
        (["votes=1,2"], ["votes=1,2", "one value"]),
        (["votes"], ["votes", "key=value"]),
        (["candidates=0"], ["candidates=0", "1 or more"]),
        (["rounds=-1"], ["rounds=-1", "0 or more"]),
        (["band=[0.75, 0.25]"], ["band=[0.75, 0.25]", "band=[0.25, 0.75]"]),
        (["band=[0.25, 1.5]"], ["band=[0.25, 1.5]", "1 or less", "band=[0.25, 1]"]),
        (["band=[-0.1, 0.5]"], ["band=[-0.1, 0.5]", "0 or more", "band=[0, 0.5]"]),
        (["band=0.5"], ["band=0.5", "list"]),
        (["challenger.steps=-1"], ["challenger.steps=-1", "0 or more"]),
        (["challenger.rollouts=1"], ["challenger.rollouts=1", "2 or more"]),
        (["solver.rollouts=1"], ["solver.rollouts=1", "2 or more"]),
        (["solver.lr=0"], ["solver.lr=0", "above 0"]),
        (["solver.batch_size=12", "solver.minibatch_size=8"], ["solver.minibatch_size=8", "=12", "minibatch_size=6"]),
        (["challenger.batch_size=12", "challenger.minibatch_size=24"], ["challenger.minibatch_size=24", "=12"]),
        (["model.answer_tokens=0"], ["model.answer_tokens=0", "4 or more"]),
        (["model=small", "model.path=null"], ["model.path=null", "no base model"]),
        (["model=small", "model.path=/nowhere/at/all"], ["model.path=/nowhere/at/all", "no such directory"]),
        (["model.path=Qwen/Qwen3-4B-Base"], ["model.path=Qwen/Qwen3-4B-Base", "built here"]),
        (["model=smollm2", "model.path=/nowhere/at/all"], ["model.path=/nowhere/at/all", "no such directory"]),
        (["model.truth=somewhere"], ["model.truth=somewhere", "module:function"]),
        (["prompts.solver_user=Solve"], ["prompts.solver_user=Solve:", "{question}"]),
        (["evaluation.benchmarks.mine={path: /nowhere.parquet, n: 5}"], ["mine.path=/nowhere.parquet", "no such file"]),
        (["model=small", "evaluation.benchmarks.x={path: null, n: 5}"], ["benchmarks.x.path=null", "aime24"]),
        (["evaluation.benchmarks.tiny.n=null"], ["evaluation.benchmarks.tiny.n=null", "tiny.n=500"]),
        (["evaluation.benchmarks.math500.k=-1"], ["math500.k=-1", "0 or more"]),
        (["evaluation.benchmarks.math500.temperature=0"], ["math500.temperature=0", "above 0"]),
        (["evaluation.judge.url=http://localhost:1/v1"], ["evaluation.judge.model=null", "or neither"]),
        (["evaluation.judge.model=m"], ["evaluation.judge.url=null", "or neither"]),
        (["evaluation.judge.url=localhost", "evaluation.judge.model=m"], ["evaluation.judge.url=localhost", "http"]),
        (["too_few=shrnk"], ["too_few=shrnk", "too_few=shrink"]),
        (["challenger.uncertainty=papr"], ["challenger.uncertainty=paper"]),
        (["model=huge"], ["model=huge", "qwen3_8b_base"]),
        (["hardware=3gpu"], ["hardware=3gpu", "8gpu"]),
        (["method=new"], ["method=new", "paper"]),
        (["hardware=8gpu", "hardware.solver_gpus=8"], ["hardware.solver_gpus=8", "solver_gpus=7"]),
        (["hardware=8gpu", "hardware.tensor_parallel=3"], ["hardware.tensor_parallel=3", "multiple"]),
        (["~votes"], ["votes: not set"]),
    ],
)  # fmt: skip
def test_refusals_name_the_key_the_value_and_what_to_write(overrides, words):
    message = refused(*overrides)
    for word in words:
        assert word in message


def test_a_directory_beside_us_is_never_taken_for_a_hub_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert "no such directory" in refused("model=small", "model.path=models/misspelt")
    (tmp_path / "models/right").mkdir()
    assert settings.load(["model=small", "model.path=models/right"]).model.path == "models/right"


def test_a_model_that_is_prepared_may_come_from_elsewhere():
    asked = settings.load(["model=smollm2", "model.path=HuggingFaceTB/SmolLM2-135M-Instruct"]).model
    assert (asked.build, asked.path) == ("smollm2", "HuggingFaceTB/SmolLM2-135M-Instruct")


def test_every_key_is_documented():
    assert all(key.doc for key in schema.keys(settings.Settings))


def test_a_band_is_possible_where_answers_without_a_box_dont_count():
    assert settings.load(["band=[0.51, 0.59]", "unanswered=answered"]).band == (0.51, 0.59)  # 4 of 7 is .57


def test_the_loggers_are_verls():
    from verl.utils.tracking import Tracking

    assert {*settings_parts.LOGGERS} == {*Tracking.supported_backend}


def test_the_forms_of_the_uncertainty_reward_are_those_that_exist():
    assert set(settings_parts.UNCERTAINTY_FORMS) == set(ALL_FORMS)


@pytest.mark.parametrize("model", compose.choices("model"))
@pytest.mark.parametrize("hardware", compose.choices("hardware"))
@pytest.mark.parametrize("method", compose.choices("method"))
def test_every_shipped_recipe_composes_with_every_other(model, hardware, method):
    given = [f"data={__file__}"] if method.startswith("ttrl") else []
    if (model, method) == ("code_tiny", "absolute_zero_released"):
        with pytest.raises(UserError, match="self_play.estimates=train"):
            settings.load([f"model={model}", f"method={method}"])
        given = ["self_play.estimates=discard"]
    if model.startswith("ttrl_") and not given:
        with pytest.raises(UserError, match="data=.*: algorithm=(rzero|absolute_zero) asks its own questions"):
            settings.load([f"model={model}", f"hardware={hardware}", f"method={method}"])
        return
    loaded = settings.load([f"model={model}", f"hardware={hardware}", f"method={method}", *given])
    assert loaded.run_dir == f"runs/{loaded.model.name}" == f"runs/{model}"


def test_the_paper_s_sizes_are_those_of_the_qwen_recipes():
    """R-Zero (arXiv 2508.05004) and its scripts: 512 prompts a step, 4 and 5 rollouts, 5 and 15 steps, N=8000, m=10."""
    loaded = settings.load(["model=qwen3_8b_base", "hardware=8gpu"])
    challenger, solver = loaded.challenger, loaded.solver
    assert (challenger.batch_size, challenger.rollouts, challenger.minibatch_size, challenger.steps) == (512, 4, 16, 5)
    assert (solver.batch_size, solver.rollouts, solver.minibatch_size, solver.steps) == (512, 5, 128, 15)
    assert (loaded.candidates, loaded.votes, challenger.lr, solver.kl, solver.top_p) == (8000, 10, 1e-6, 1e-2, 0.99)


def test_an_update_must_be_shared_out_evenly_among_the_gpus():
    # Solver: 128 x 5 = 640 sequences on 3 x 8 GPUs; the smallest multiple is 24 / gcd(24, 5) = 24.
    words = [
        "model=qwen3_4b_base",
        "hardware=8gpu",
        "hardware.nodes=3",
        "challenger.batch_size=480",
        "challenger.minibatch_size=48",
    ]
    message = refused(*words)
    assert "solver.minibatch_size=128" in message
    assert "Write a multiple of 24." in message
    assert settings.load([*words, "solver.batch_size=480", "solver.minibatch_size=120"]).hardware.nodes == 3


def test_only_the_updates_that_there_are_must_be_shared_out_evenly():
    # TTRL has no Challenger, whose 16 x 4 could not be shared out among 6; 9 x 32 can. A step of Absolute Zero is one
    # update of all its responses: 3 kinds x (8 + 8) rows of 8 = 384 are 6 x 64, and 5 can't share them.
    gpus = ["hardware=8gpu", "hardware.solver_gpus=0"]
    ttrl = ["method=ttrl", "model=ttrl_qwen3_4b_base", "solver.batch_size=9", "solver.minibatch_size=3"]
    assert settings.load([*ttrl, *gpus, "hardware.gpus_per_node=6"])
    zero = ["method=absolute_zero", "model=az_qwen2_5_coder_3b", *gpus]
    assert settings.load([*zero, "hardware.gpus_per_node=6"])
    zero += ["hardware.tensor_parallel=1"]
    message = refused(*zero, "hardware.gpus_per_node=5")
    assert "solver.batch_size=64: a step's 48 x 8 responses can't be shared out evenly among 5 GPUs" in message
    assert "Write a multiple of 40." in message
    assert settings.load([*zero, "hardware.gpus_per_node=5", "solver.batch_size=80"])
    # One kind without proposals has as many responses as the batch: what is advised is not what it is already.
    few = ["self_play.kinds=[deduction]", "self_play.propose=false", "solver.rollouts=2", "solver.batch_size=4"]
    message = refused(*zero, *few, "hardware.gpus_per_node=8")
    assert "solver.batch_size=4: a step's 2 x 2 responses" in message
    assert "Write a multiple of 8." in message
    assert settings.load([*zero, *few[:-1], "solver.batch_size=8", "hardware.gpus_per_node=8"])


@pytest.mark.parametrize(("words", "m"), [([], 10), (["votes=4"], 4), (["votes=4", "dataset_votes=3"], 3)])
def test_the_dataset_has_its_own_number_of_votes_or_that_of_the_reward(words, m):
    assert settings.load(words).votes_of_dataset == m
