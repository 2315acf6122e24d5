"""The switches beside the paper's rules: reward forms, memory, replay, anchors, presets, reference."""

import json

import numpy as np
import pytest

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.data import anchors, records
from verl_rzero.data.records import Question, VotedQuestion
from verl_rzero.engine import asking, jobs
from verl_rzero.engine.processes import RUN_VARIABLE
from verl_rzero.methods import inputs, sizes, work
from verl_rzero.rules import curation, prompts, solver_data
from verl_rzero.rules.repetition import cluster_shares, shares_with_memory
from verl_rzero.rules.reward import challenger_reward
from verl_rzero.rules.uncertainty import uncertainty_reward
from verl_rzero.settings import schema


def voted(number: int, round_: int = 1, agreeing: int = 5, question: str | None = None) -> VotedQuestion:
    return VotedQuestion(
        id=number,
        round=round_,
        question=question or f"question {round_} {number}",
        raws=[""] * 10,
        answers=["7"] * agreeing + [str(100 + i) for i in range(10 - agreeing)],
        classes=[0] * agreeing + list(range(1, 11 - agreeing)),
        label="7",
        agreement=agreeing / 10,
        margin=(agreeing - 1) / 10,
        answered=10,
        seed=0,
        model="m",
    )


def test_zpd_rises_to_its_peak_and_falls_to_the_end():
    p = np.array([0.0, 0.3, 0.75, 0.9, 1.0])
    # .3/.75 = .4; (1 - .9)/.25 = .4
    assert uncertainty_reward(p, "zpd", peak=0.75) == pytest.approx([0, 0.4, 1, 0.4, 0])
    assert uncertainty_reward(p, "zpd", peak=0.5) == pytest.approx(uncertainty_reward(p, "paper"))


def test_band_takes_its_bounds_with_their_ends():
    p = np.array([0.2, 0.3, 0.5, 0.8, 0.9])
    assert uncertainty_reward(p, "band", band=(0.3, 0.8)).tolist() == [0, 1, 1, 1, 0]
    assert uncertainty_reward(p, "band").tolist() == [0, 1, 1, 0, 0]


def test_random_has_nothing_to_do_with_agreement_and_comes_again_with_its_seed():
    p = np.array([0.0, 0.5, 1.0])
    first, again = (uncertainty_reward(p, "random", rng=np.random.default_rng([1, 2])) for _ in range(2))
    assert first.tolist() == again.tolist()
    assert first.tolist() == np.random.default_rng([1, 2]).random(3).tolist()
    with pytest.raises(ValueError, match="rng"):
        uncertainty_reward(p, "random")


def test_the_released_penalty_on_malformed_texts():
    # min(.5, .5) - 1/4 = .25; -1 - 1/4: a malformed text is a cluster of its own
    rewards = challenger_reward(
        [0.5, np.nan],
        [0.25, 0.25],
        [True, False],
        form="released",
        invalid_reward=-1,
        floor=None,
        penalise_invalid=True,
    )
    assert rewards == pytest.approx([0.25, -1.25])


def test_memory_adds_to_the_penalty_and_the_floor_holds():
    # 1 - .25 - .5 = .25; 1 - .25 - .9 < 0
    rewards = challenger_reward([0.5, 0.5], [0.25, 0.25], [True, True], memory_shares_B=[0.5, 0.9])
    assert rewards == pytest.approx([0.25, 0.0])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        challenger_reward([0.5], [0.25], [True], memory_shares_B=[1.5])


def test_an_old_question_asked_again_is_found_in_the_memory():
    old = [
        "how many apples are in the red box",
        "what is seven times eleven plus one",
        "what is seven times eleven plus two",
    ]
    new = ["what is seven times eleven plus three", "a train leaves the town at noon today"]
    batch, memory = shares_with_memory(new, old)
    assert batch.tolist() == [0.5, 0.5]  # each alone among the two of the batch
    assert memory == pytest.approx([2 / 3, 0])  # the first is in a cluster with two of three old ones
    assert shares_with_memory(new, [])[0].tolist() == cluster_shares(new).tolist()
    assert shares_with_memory(new, [], batch_size=4)[0].tolist() == [0.25, 0.25]


def test_nothing_well_formed_has_no_shares():
    batch, memory = shares_with_memory([], ["an old question"], batch_size=4)
    assert (batch.size, memory.size) == (0, 0)


def test_replay_and_anchors_are_shares_of_the_whole():
    asked = settings.load(["curation.replay_share=0.1"])
    new, old = [solver_data.kept_rows(asked, [voted(i, t) for i in range(90)]) for t in (2, 1)]
    rows = solver_data.mixed(asked, new, old, [], 2)
    # 90 new rows are 90 % of 100
    assert len(rows) == 100
    assert [row.extra_info["round"] for row in rows] == [2] * 90 + [1] * 10
    assert len({row.extra_info["id"] for row in rows[90:]}) == 10
    assert solver_data.mixed(asked, new, old, [], 2) == rows
    assert len(solver_data.mixed(asked, new, old[:3], [], 2)) == 93  # there are no more
    human = [anchors.Anchor(f"human {i}", str(i)) for i in range(50)]
    labelled = solver_data.mixed(settings.load([]), new, old, human, 2)
    assert labelled == new


def test_anchor_rows_have_their_own_label_and_name(tmp_path):
    path = tmp_path / "human.jsonl"
    path.write_text("".join(json.dumps({"question": f"h{i}", "answer": i}) + "\n" for i in range(40)))
    asked = settings.load([f"anchors.path={path}", "anchors.share=0.25"])
    new = solver_data.kept_rows(asked, [voted(i) for i in range(30)])
    rows = solver_data.mixed(asked, new, [], anchors.load(path), 1)
    human = rows[30:]
    assert len(human) == 10  # a quarter of 40
    assert {row.data_source for row in human} == {"anchor"}
    for row in human:
        assert row.prompt[-1]["content"].endswith(f"h{row.reward_model['ground_truth']}")
    assert solver_data.added(solver_data.copied(rows, 100), 1) == {"replayed": 0, "anchors": 10}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"question": "a"}\n', "row 0 has no answer"),
        ('{"question": "a", "answer": "1"}\n{"answer": "1"}\n', "row 1 has no question"),
        ("", "no rows"),
        ("question,answer\n", "not JSON"),
    ],
)
def test_unusable_anchors_are_refused_at_the_start(tmp_path, text, said):
    path = tmp_path / "human.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        anchors.check(settings.load([f"anchors.path={path}", "anchors.share=0.1"]).anchors)


def test_too_few_anchors_for_a_prompt_are_refused(tmp_path):
    path = tmp_path / "human.jsonl"
    path.write_text('{"question": "a", "answer": "1"}\n')
    with pytest.raises(UserError, match="Write at most 1"):
        anchors.check(settings.load([f"anchors.path={path}", "anchors.in_prompt=3"]).anchors)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["anchors.share=0.1"], "anchors.path=null"),
        (["anchors.path=nowhere.jsonl", "anchors.share=0.1"], "no such file"),
        (["anchors.path=setup.py"], "nothing uses it"),
        (["curation.rank_band=[0.7,0.3]"], r"curation.rank_band=\[0.3, 0.7\]"),
        (["curation.min_answered=11"], "at most 10"),
        (["dataset_votes=4", "curation.min_answered=5"], "at most 4"),
        (["challenger.uncertainty=zdp"], "zpd"),
        (["curation.replay_share=0.6", "anchors.path=setup.py", "anchors.share=0.4"], "no room"),
    ],
)
def test_impossible_switches_are_refused(words, said):
    with pytest.raises(UserError, match=said):
        settings.load(words)


def test_human_examples_stand_before_the_challengers_task():
    asked = settings.load([]).prompts
    plain, shown = prompts.challenger_messages(asked), prompts.challenger_messages(asked, ["What is 1+1?"])
    assert shown[-1]["content"].endswith(plain[-1]["content"])
    assert "<question>\nWhat is 1+1?\n</question>" in shown[-1]["content"]
    human = [anchors.Anchor(str(i), "1") for i in range(20)]
    draws = [tuple(anchors.shown(human, 3, 0, 1, i)) for i in range(10)]
    assert len({*draws}) > 5  # each prompt has its own
    assert draws[0] == tuple(anchors.shown(human, 3, 0, 1, 0))


def test_a_voter_may_refuse_only_where_that_is_counted():
    asked = settings.load(["model=qwen3_4b_base"]).prompts
    plain = prompts.voter_messages(asked, "1+1?", False)
    assert plain == prompts.solver_messages(asked, "1+1?")
    told = prompts.voter_messages(asked, "1+1?", True)
    assert told[0]["content"].startswith(plain[0]["content"])
    assert "ILL-POSED" in told[0]["content"]
    assert asking.ballots(["ill-posed.", "3", None], True) == [None, "3", None]
    assert asking.ballots(["ill-posed.", "3", None], False) == ["ill-posed.", "3", None]


def test_a_question_that_needs_a_box_is_malformed_without_one():
    assert asking.question(0, 1, "<question>a</question>", 0, "m").well_formed
    assert not asking.question(0, 1, "<question>a</question>", 0, "m", needs_box=True).well_formed
    assert asking.question(0, 1, "<question>a</question> \\boxed{1}", 0, "m", needs_box=True).well_formed


def config(role, *words):
    asked = settings.load([*words])
    return jobs.verl_config(asked, role, model="m", train_file="t", stage_dir="s/x", solver="v", base="b").verl_rzero


def test_the_reference_is_the_base_model_where_asked():
    assert config("solver").reference_model is None
    assert config("solver", "solver.reference=base").reference_model == "b"
    assert config("challenger", "solver.reference=base").reference_model is None
    assert config("challenger", "challenger.reference=base").reference_model == "b"


def test_the_challenger_remembers_only_with_scope_rounds():
    assert not work.remembers(settings.load([]))
    assert work.remembers(settings.load(["challenger.repetition_scope=rounds"]))


def test_the_memory_holds_as_much_of_each_round(tmp_path):
    words = [f"run_dir={tmp_path}", "challenger.repetition_scope=rounds", "challenger.repetition_memory=20"]
    settings.save(settings.load(words), tmp_path / "settings.yaml")
    for t in (1, 2):
        (tmp_path / f"round_{t}/questions").mkdir(parents=True)
        asked = [Question(i, t, "raw", f"{t}: {i}" if i else None, None, 0 < i < 40, 0, "m") for i in range(50)]
        records.write(tmp_path / f"round_{t}/questions/questions.parquet", asked, Question)
    found = inputs.remembered(inputs.StageInputs(tmp_path, "round_3/challenger"))
    assert len({*found}) == 20
    assert sum(text.startswith("1:") for text in found) == 10
    assert all(1 <= int(text.split(": ")[1]) < 40 for text in found)  # 40 to 49 lack a box that was asked for
    assert inputs.remembered(inputs.StageInputs(tmp_path, "round_1/challenger")) == []


def test_weight_syncs_of_two_runs_have_two_names(monkeypatch):
    from verl_rzero.engine.worker import sync_name

    monkeypatch.delenv(RUN_VARIABLE, raising=False)
    assert sync_name("01000000") == "01000000"
    names = set()
    for run in ("/runs/a", "/runs/b"):
        monkeypatch.setenv(RUN_VARIABLE, run)
        names.add(sync_name("01000000"))
        assert sync_name("01000000") == sync_name("01000000")
        assert len(f"/tmp/rl-colocate-zmq-{sync_name('01000000')}-replica-0-rank-0.sock") < 108
    assert len(names) == 2


def test_the_released_preset_is_what_their_scripts_do():
    asked = settings.load(["method=released", "model=qwen3_4b_base", "hardware=8gpu"])
    # r = min(p, 1-p) - |C|/B, -1 - |C|/B where malformed, nothing cut off at 0
    challenger = asked.challenger
    assert (challenger.uncertainty, challenger.floor, challenger.repetition_weight) == ("released", None, 1.0)
    assert (challenger.invalid_reward, challenger.repetition_on_invalid) == (-1.0, True)
    assert (asked.votes, asked.dataset_votes, asked.band, asked.rounds) == (10, 9, (0.3, 0.8), 5)
    assert (asked.solver.format_weight, asked.sampling.votes.top_k, asked.question_box) == (0.1, 40, "dataset")
    # keeps 3..7 of 9 (r_zero's 0.3 <= p <= 0.8), drops "box" questions and "text" labels
    kept = [k for k in range(1, 10) if curation.curate([of_nine(k)], **curation.rules(asked)).kept]
    assert kept == [3, 4, 5, 6, 7]
    assert not curation.curate([of_nine(5, "How many balls does a Box hold?")], **curation.rules(asked)).kept


def of_nine(agreeing: int, question: str = "q") -> VotedQuestion:
    return VotedQuestion(
        0, 1, question, [""] * 9, ["7"] * agreeing + [str(100 + i) for i in range(9 - agreeing)],
        [0] * agreeing + list(range(1, 10 - agreeing)), "7", agreeing / 9,
        (agreeing - (agreeing < 9)) / 9, 9, 0, "m",
    )  # fmt: skip


@pytest.mark.parametrize("model", ["tiny", "smollm2", "qwen3_4b_base"])
def test_the_robust_preset_holds_the_challenger_near_the_base_model_and_keeps_clear_majorities(model):
    words = [f"model={model}", "hardware=1gpu"]
    robust, paper = (settings.load([f"method={name}", *words]) for name in ("robust", "paper"))
    of_robust, of_paper = (schema.flat(settings.as_dict(asked)) for asked in (robust, paper))
    changed = {key for key, value in of_robust.items() if value != of_paper[key]}
    assert changed <= {
        "challenger.reference", "challenger.kl_times", "band", "solver.steps_times", "solver.towards_start",
        "monitors.agreement_drift",
    }  # fmt: skip
    assert (robust.solver.steps_in_all, robust.solver.towards_start) == (2 * paper.solver.steps, 0.25)
    assert (robust.monitors.agreement_drift, paper.monitors.agreement_drift) == (0.45, 0.35)
    assert robust.band == ((0.5, 0.9) if model == "smollm2" else (0.25, 0.9))  # SmolLM2's recipe has its own
    job = jobs.verl_config(robust, "challenger", model="m", train_file="f", stage_dir="s", solver="m", base="b")
    assert job.verl_rzero.reference_model == "b"
    assert job.actor_rollout_ref.actor.kl_loss_coef == pytest.approx(3 * paper.challenger.kl)


def test_a_methods_factor_on_a_models_steps_is_in_the_job_the_plan_and_none_of_the_challengers():
    asked = settings.load(["model=tiny", "hardware=1gpu", "solver.steps=5", "solver.steps_times=1.5", "rounds=1"])
    ends = [
        jobs.verl_config(asked, role, model="m", train_file="f", stage_dir="s", solver="m").trainer.total_training_steps
        for role in ("challenger", "solver")
    ]
    assert ends == [asked.challenger.steps, 8]
    assert sizes.solver(asked).startswith("8 steps x ")
    for steps, times, in_all in ((0, 2, 0), (10, 1.1, 11), (3, 0.1, 1)):
        words = [f"solver.steps={steps}", f"solver.steps_times={times}"]
        assert settings.load(words).solver.steps_in_all == in_all
