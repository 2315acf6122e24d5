"""The stages of a run and what each depends on."""

import pytest

from verl_rzero.data import run_dir
from verl_rzero.methods import plan
from verl_rzero.methods.policies import trains
from verl_rzero.settings import Settings, load, schema


def ids(*overrides: str) -> list[str]:
    return [stage.id for stage in plan.plan(load(list(overrides)))]


def test_two_rounds_in_order():
    assert ids("rounds=2") == [
        "base/model", "base/evaluation",
        "round_1/challenger", "round_1/questions", "round_1/votes", "round_1/curation", "round_1/solver",
        "round_1/evaluation",
        "round_2/challenger", "round_2/questions", "round_2/votes", "round_2/curation", "round_2/solver",
        "round_2/evaluation",
    ]  # fmt: skip


def test_no_rounds_measure_the_base_model():
    assert ids("rounds=0") == ["base/model", "base/evaluation"]


def test_without_a_benchmark_nothing_is_evaluated():
    assert ids("model=small", "rounds=0") == ["base/model"]
    assert "round_1/evaluation" not in ids("model=small", "rounds=1")


def test_round_t_starts_from_round_t_minus_1():
    """C(t) comes from C(t-1) against the frozen S(t-1); S(t-1) votes; S(t) comes from S(t-1)."""
    inputs = {stage.id: stage.inputs for stage in plan.plan(load(["rounds=2"]))}
    assert inputs["round_1/challenger"] == ("base/model",)
    assert inputs["round_2/challenger"] == ("round_1/challenger", "round_1/solver")
    assert inputs["round_2/votes"] == ("round_2/questions", "round_1/solver")
    assert inputs["round_2/solver"] == ("round_2/curation", "round_1/solver")
    assert inputs["round_2/evaluation"] == ("round_2/solver",)


def test_one_model_in_two_roles_is_handed_on():
    inputs = {stage.id: stage.inputs for stage in plan.plan(load(["rounds=2", "roles=shared"]))}
    assert inputs["round_1/challenger"] == ("base/model",)
    assert inputs["round_1/votes"] == ("round_1/questions", "round_1/challenger")
    assert inputs["round_1/solver"] == ("round_1/curation", "round_1/challenger")
    assert inputs["round_2/challenger"] == ("round_1/solver",)


def test_what_looks_back_reads_the_rounds_before():
    words = ["rounds=3", "curation.replay_share=0.1", "challenger.repetition_scope=rounds", "solver.reference=base"]
    inputs = {stage.id: stage.inputs for stage in plan.plan(load(words))}
    assert inputs["round_3/challenger"][2:] == ("round_1/questions", "round_2/questions")
    assert inputs["round_3/curation"] == (
        "round_3/votes", "round_1/votes", "round_1/curation", "round_2/votes", "round_2/curation",
    )  # fmt: skip
    assert inputs["round_1/curation"] == ("round_1/votes",)
    assert inputs["round_3/solver"] == ("round_3/curation", "round_2/solver", "base/model")


def test_a_frozen_challenger_trains_only_in_its_rounds():
    settings = load(["challenger.train_rounds=1"])
    assert [trains(settings, "challenger", t) for t in (1, 2, 3)] == [True, False, False]
    assert [trains(settings, "solver", t) for t in (1, 2, 3)] == [True, True, True]
    sizes = {stage.id: stage.size for stage in plan.plan(settings)}
    assert sizes["round_2/challenger"] == "not trained"
    assert sizes["round_1/challenger"] != "not trained"


def test_inputs_come_before_what_is_made_from_them():
    seen: set[str] = set()
    for stage in plan.plan(load(["rounds=3"])):
        assert seen.issuperset(stage.inputs)
        seen.add(stage.id)


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("votes=9", {"challenger", "votes"}),
        ("band=[0.3, 0.7]", {"curation"}),
        ("candidates=7", {"questions"}),
        ("challenger.steps=0", {"challenger"}),
        ("solver.verl.trainer.x=1", {"solver"}),
        ("seed=1", {"challenger", "questions", "votes", "curation", "solver", "evaluation"}),
        ("curation.min_margin=0.2", {"curation"}),
        ("curation.ill_posed_share=0.2", {"challenger", "votes", "curation"}),
        ("dataset_votes=9", {"votes"}),
        ("roles=shared", {"challenger", "votes", "solver"}),
        ("question_box=always", {"challenger", "questions"}),
        ("solver.reference=base", {"solver"}),
        ("model.build_seed=1", {"model"}),
        ("evaluation.k=4", {"evaluation"}),
        ("monitors.kl=null", set()),
        ("monitors.on_alarm=stop", set()),
        ("evaluation.benchmarks.tiny.n=4", {"evaluation"}),
        ("evaluation.benchmarks.aime24={}", {"evaluation"}),
        ("evaluation.judge={url: http://x/v1, model: m}", {"evaluation"}),
        ("evaluation.judge.timeout_s=1", set()),
        ("logger=[console]", set()),
        ("rounds=1", set()),
        ("run_dir=elsewhere", set()),
        ("hardware.actor_tokens_per_gpu=8", set()),
    ],
)
def test_a_setting_changes_the_hash_of_the_stages_that_depend_on_it(override, changed):
    before, after = load([]), load([override])
    stages = plan.plan(load(["rounds=1"]))
    differing = {s.kind.name for s in stages if plan.settings_hash(s, before) != plan.settings_hash(s, after)}
    assert differing == changed


def test_a_model_that_is_prepared_for_its_prompts_depends_on_them():
    def hash_of(*words):
        asked = load(list(words))
        return plan.settings_hash(plan.plan(asked)[0], asked)

    for key in ("challenger_system", "challenger_user", "solver_system"):
        assert hash_of("model=smollm2") != hash_of("model=smollm2", f"prompts.{key}=Hello")
        assert hash_of("model=tiny") == hash_of("model=tiny", f"prompts.{key}=Hello")


def test_what_chooses_the_round_may_change():
    other = "evaluation.benchmarks.other={path: null, n: 4}"
    before, after = load([other]), load([other, "evaluation.choose_by=other", "monitors.early_stop_rounds=2"])
    for stage in plan.plan(before):
        assert plan.settings_hash(stage, before) == plan.settings_hash(stage, after)


def test_everything_a_stage_depends_on_is_a_setting():
    known = [key.name for key in schema.keys(Settings)]
    for name in plan.ALL_DEPENDS:
        assert any(key == name or key.startswith(f"{name}.") for key in known), name


@pytest.mark.parametrize(
    ("word", "kinds"),
    [
        ("challenger.kl_times=3", ["challenger"]),
        ("solver.towards_start=0.5", ["solver"]),
        ("solver.steps_times=2", ["solver"]),
        ("sampling.wait_for=0.9", ["challenger", "questions", "votes", "solver"]),
    ],
)
def test_a_setting_that_does_nothing_is_none_that_a_stage_depends_on(word, kinds):
    key = word.partition("=")[0]
    depends = [
        [stage.kind.name for stage in plan.plan(asked) if key in run_dir.chosen_settings(asked, stage.kind.depends)]
        for asked in (load(["rounds=1"]), load(["rounds=1", word]))
    ]
    assert depends == [[], kinds]


IN_A_ROUND = ("challenger", "questions", "votes", "curation", "solver", "evaluation")


def test_stages_that_follow_training_share_its_process():
    kinds = lambda settings: [[s.id for s in g] for g in plan.in_one_process(plan.plan(settings), settings)]  # noqa: E731
    assert kinds(load(["rounds=1"])) == [
        ["base/model"],
        ["base/evaluation"],
        [f"round_1/{kind}" for kind in IN_A_ROUND],
    ]
    # Each round has a process of its own.
    assert kinds(load(["rounds=2"]))[3:] == [[f"round_2/{kind}" for kind in IN_A_ROUND]]
    # Without training there is no engine to use again.
    assert kinds(load(["rounds=1", "challenger.steps=0"]))[2:] == [
        ["round_1/challenger"],
        ["round_1/questions"],
        ["round_1/votes"],
        ["round_1/curation"],
        ["round_1/solver", "round_1/evaluation"],
    ]
    # A Solver that isn't trained is evaluated by engines of its own: the Challenger's hold another model.
    assert kinds(load(["rounds=1", "solver.steps=0"]))[-1] == ["round_1/evaluation"]
    # The engines of a Solver that goes half of the way have its other half too.
    assert kinds(load(["rounds=1", "solver.towards_start=0.5"]))[2:] == [
        [f"round_1/{kind}" for kind in IN_A_ROUND[:-1]],
        ["round_1/evaluation"],
    ]


def test_stages_are_parted_before_each_training():
    (group,) = plan.in_one_process(plan.plan(load(["rounds=1"])), load(["rounds=1"]))[2:]
    kinds = lambda parts: [[stage.kind.name for stage in part] for part in parts]  # noqa: E731
    assert kinds(plan.from_each_training(group)) == [[*IN_A_ROUND[:4]], [*IN_A_ROUND[4:]]]
    assert kinds(plan.from_each_training(group[1:])) == [[*IN_A_ROUND[1:4]], [*IN_A_ROUND[4:]]]


@pytest.mark.parametrize(
    ("words", "shared"),
    [
        (["hardware=1gpu"], True),
        (["hardware=8gpu", "hardware.solver_gpus=0"], True),
        (["hardware=8gpu"], False),  # half of the GPUs are the frozen Solver's
        (["hardware=cluster"], False),
    ],
)
def test_on_gpus_stages_share_the_process_of_a_training_that_had_all_of_them(words, shared):
    settings = load(["rounds=1", *words])
    groups = [[stage.kind.name for stage in group] for group in plan.in_one_process(plan.plan(settings), settings)]
    assert groups[2:] == (
        [[*IN_A_ROUND]] if shared else [*([kind] for kind in IN_A_ROUND[:4]), ["solver", "evaluation"]]
    )


def test_a_stage_that_continues_alone_has_its_own_process():
    settings = load(["rounds=1"])
    left = [stage for stage in plan.plan(settings) if stage.kind.name in ("questions", "votes")]
    assert [len(group) for group in plan.in_one_process(left, settings)] == [1, 1]
