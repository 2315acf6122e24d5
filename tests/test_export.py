"""An exported model and dataset: they load elsewhere, their cards are true, and nothing of others is overwritten."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import made_run
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.base.files import read_json
from verl_rzero.data import records, run_dir
from verl_rzero.data.outputs import model_hash
from verl_rzero.publish import dataset_card
from verl_rzero.publish import export_run as export

SETTINGS = settings.load(["rounds=2", "hardware=cpu", "run_dir=/home/somebody/runs/tiny"])


def tiny_model(target: Path, seed: int, as_verl_saves: bool) -> None:
    """An untrained model of the tiny world, with what verl adds to the configuration of a trained one on a CPU."""
    from verl_rzero.tiny_world import base_model
    from verl_rzero.tiny_world.tokenizer import make_tokenizer

    tokenizer = make_tokenizer()
    target.parent.mkdir(parents=True, exist_ok=True)
    base_model.save(base_model.make_model(tokenizer, seed), tokenizer, {}, target)
    if as_verl_saves:
        config = read_json(target / "config.json")
        config |= {"attn_implementation": "packed_sdpa", "dtype": "bfloat16"}
        (target / "config.json").write_text(json.dumps(config))


def finish(run: Path, stage: str, result: dict) -> None:
    here = run / stage
    here.mkdir(parents=True, exist_ok=True)
    (here / "result.json").write_text(json.dumps(result))
    made = run_dir.Manifest(stage, "", {}, [], 0, {}, "c0ffee", {"python": "3.12.1", "verl": "0.9.1"}, "", "", 1.0)
    run_dir.finish_stage(here, made)


def evaluation(run: Path, stage: str, right_QR: list[list[bool]]) -> None:
    (run / stage).mkdir(parents=True)
    rows = [{"benchmark": "tiny", "question": "1+2", "answer": "3", "replies": [], "right": row} for row in right_QR]
    pq.write_table(pa.Table.from_pylist(rows), run / stage / "answers.parquet")
    finish(run, stage, {})


def asked_and_voted(run: Path, number: int) -> None:
    """Three texts, two questions; the votes 2 of 4 (kept) and 4 of 4 (above the band)."""
    here = run / f"round_{number}"
    for kind in ("questions", "votes", "curation"):
        (here / kind).mkdir(parents=True)
    asked = [
        records.Question(0, number, "<question>1+2</question>", "1+2", None, True, 7, "c"),
        records.Question(1, number, "???", None, None, False, 8, "c"),
        records.Question(2, number, "<question>3+4</question>", "3+4", None, True, 9, "c"),
    ]
    split, unanimous = ["3", "4", "3", None], ["7"] * 4
    votes = [
        records.VotedQuestion(0, number, "1+2", ["r"] * 4, split, [0, 1, 0, -1], "3", 0.5, 0.25, 3, 1, "s"),
        records.VotedQuestion(2, number, "3+4", ["r"] * 4, unanimous, [0] * 4, "7", 1.0, 1.0, 4, 2, "s", "7"),
    ]
    row = records.SolverRow(
        "tiny", [], "math", {"style": "rule", "ground_truth": "3"}, {"index": 0, "id": 0, "round": 1, "agreement": 0.5}
    )
    decided = [records.Decision(2, "rejected", "above_band"), records.Decision(0, "kept", None)]
    records.write(here / "questions/questions.parquet", asked, records.Question)
    records.write(here / "votes/votes.parquet", votes, records.VotedQuestion)
    records.write(here / "curation/solver_train.parquet", [row, row], records.SolverRow)  # too_few=repeat
    records.write(here / "curation/decisions.parquet", decided, records.Decision)
    finish(run, f"round_{number}/questions", {"generated": 3, "well_formed": 2, "distinct": 2})
    voted = {"questions": 2, "mean_agreement": 0.75, "answered_share": 0.875, "pseudo_label_accuracy": 1.0}
    finish(run, f"round_{number}/votes", voted)
    finish(run, f"round_{number}/curation", {"kept": 1, "rejected": {"above_band": 1}, "kept_label_accuracy": None})


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Round 1 is done; round 2 as far as its votes. Greedy 5 of 10 right, then 8 of 10; 2 samples each."""
    run = tmp_path_factory.mktemp("export") / "run"
    tiny_model(run / "base/model/model", 0, as_verl_saves=False)
    settings.save(SETTINGS, run / "settings.yaml")
    finish(run, "base/model", {"model": "model"})
    evaluation(run, "base/evaluation", [[i < 5, True, False] for i in range(10)])
    tiny_model(run / "round_1/challenger/model", 1, as_verl_saves=True)
    finish(run, "round_1/challenger", {"model": "model", "steps": []})
    asked_and_voted(run, 1)
    tiny_model(run / "round_1/solver/model", 2, as_verl_saves=True)
    finish(run, "round_1/solver", {"model": "model", "steps": []})
    evaluation(run, "round_1/evaluation", [[i < 8, True, i < 5] for i in range(10)])
    finish(run, "round_2/challenger", {"model": str(run / "round_1/challenger/model"), "steps": []})
    asked_and_voted(run, 2)
    return run


@pytest.fixture
def run(template, tmp_path):
    return Path(shutil.copytree(template, tmp_path / "run"))


@pytest.fixture(scope="module")
def exported(template, tmp_path_factory):
    to = tmp_path_factory.mktemp("exported") / "tiny"
    export.main([str(template), "round=1", f"to={to}", "base_model=owner/base", "license=apache-2.0"])
    return to


def card_of(part: Path) -> str:
    return (part / "README.md").read_text(encoding="utf-8")


def table(card: str, section: str) -> list[list[str]]:
    rows = re.search(rf"## {section}\n\n((?:\|.*\n)+)", card)[1].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in [rows[0], *rows[2:]]]


def test_the_model_loads_elsewhere_and_answers_as_the_runs_model(template, exported):
    """The code in the card, in a process that knows nothing of this package, and the weights as they were trained."""
    import torch
    from transformers import AutoTokenizer

    from verl_rzero.tiny_world import base_model
    from verl_rzero.tiny_world.tokenizer import make_tokenizer

    code = re.search(r"```python\n(.*?)```", card_of(exported / "model"), re.DOTALL)[1]
    code = 'import sys; sys.modules["verl_rzero"] = None\n' + code
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=exported / "model",
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    model = base_model.make_model(make_tokenizer(), 2).eval()
    tokenizer = AutoTokenizer.from_pretrained(template / "base/model/model")
    ids = tokenizer("<|solve|>1+2<|answer|>", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        output = model.generate(
            ids, max_new_tokens=72, do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=0
        )
    assert ran.stdout == tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True) + "\n"
    assert len(ran.stdout) > 5


def test_only_what_is_of_this_run_alone_leaves_the_configuration(template, exported):
    before, after = (
        read_json(path / "config.json") for path in (template / "round_1/solver/model", exported / "model")
    )
    assert before.pop("attn_implementation") == "packed_sdpa"
    assert (before.pop("dtype"), after.pop("dtype")) == ("bfloat16", "float32")
    assert before == after


def test_the_dataset_loads_from_its_directory_without_a_network(exported, tmp_path):
    code = """
import sys, json, datasets
loaded = {name: datasets.load_dataset(sys.argv[1], name, split="train").to_list() for name in ("votes", "questions")}
loaded["default"] = datasets.load_dataset(sys.argv[1], split="train").to_list()
print(json.dumps(loaded))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(exported / "dataset")],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    loaded = json.loads(ran.stdout)
    assert [row["question"] for row in loaded["questions"]] == ["1+2", None, "3+4"]
    assert [(row["question"], row["kept"], row["reason"]) for row in loaded["votes"]] == [
        ("1+2", True, None),
        ("3+4", False, "above_band"),
    ]
    assert loaded["votes"][0]["answers"] == ["3", "4", "3", None]
    assert loaded["default"] == loaded["votes"]


def test_the_heads_of_the_cards_are_what_the_hub_reads(exported):
    from huggingface_hub import DatasetCard, ModelCard

    model, dataset = ModelCard.load(exported / "model/README.md"), DatasetCard.load(exported / "dataset/README.md")
    assert (model.data.base_model, model.data.license) == ("owner/base", "apache-2.0")
    assert (model.data.library_name, model.data.pipeline_tag) == ("transformers", "text-generation")
    assert [(each.metric_name, each.metric_value) for each in model.data.eval_results] == [
        ("greedy accuracy", 0.8),
        ("mean@2 accuracy", 0.75),
    ]
    assert dataset.data.license == "apache-2.0"
    assert dataset.data.size_categories == ["n<1K"]
    assert [config["config_name"] for config in dataset.data.configs] == ["votes", "questions"]


def test_scores_have_intervals_over_questions(exported):
    # Greedy 8 of 10: Wilson's interval is 0.490 to 0.943. Sampled 15 of 20; the questions' shares, five times 1 and 1/2
    # each, spread no more than those of 20 independent answers would: Wilson's of 15 of 20 is 0.531 to 0.888.
    assert table(card_of(exported / "model"), "Scores")[1:] == [
        ["base", "0.500 (0.237 to 0.763)", "0.500 (0.299 to 0.701)"],
        ["round 1", "0.800 (0.490 to 0.943)", "0.750 (0.531 to 0.888)"],
    ]


def test_the_lineage_names_every_model_by_its_weights(template, exported):
    base, challenger, solver = (
        f"`{model_hash(template / stage / 'model')}`"
        for stage in ("base/model", "round_1/challenger", "round_1/solver")
    )
    for part in export.PARTS:
        assert table(card_of(exported / part), "Lineage")[1:] == [
            ["base", base, base, "-", "-", "-", "-", "-"],
            ["round 1", challenger, solver, "2", "1", "0.750", "1.000", "-"],
        ]
    assert read_json(exported / "model/rzero_export.json")["weights"] == solver.strip("`")


def test_settings_and_versions_are_told_and_local_paths_are_not(exported):
    for part in export.PARTS:
        card = card_of(exported / part)
        assert "candidates: 500" in card
        assert "verl_rzero c0ffee; python 3.12.1, verl 0.9.1." in card
        assert "somebody" not in card
        assert "run_dir" not in card


def test_of_addresses_and_paths_with_blanks_nothing_is_told_that_names_a_machine(run, tmp_path):
    asked = settings.recall(run / "settings.yaml")
    judge = replace(asked.evaluation.judge, url="http://anna:pw@node7.corp:8000/v1", model="judge")
    benchmark = replace(asked.evaluation.benchmarks["tiny"], path="/home/Jane Doe/hers/q 1.jsonl")
    evaluation = replace(asked.evaluation, judge=judge, benchmarks={"tiny": benchmark})
    settings.save(replace(asked, evaluation=evaluation), run / "settings.yaml")
    export.main([str(run), "round=1", f"to={tmp_path}/out"])
    for part in export.PARTS:
        card = card_of(tmp_path / "out" / part)
        assert not [each for each in ("anna", "node7", "Jane", "/hers") if each in card]
        assert "path: q 1.jsonl" in card
        assert "url: (an address)" in card


def test_a_benchmark_that_has_chosen_the_round_is_marked_and_no_result(run, tmp_path):
    text = (run / "settings.yaml").read_text()
    assert "choose_by: null" in text
    (run / "settings.yaml").write_text(text.replace("choose_by: null", "choose_by: tiny"))
    export.main([str(run), "round=1", f"to={tmp_path}/out"])
    card = card_of(tmp_path / "out/model")
    assert "tiny (used for choosing) greedy" in card
    assert "model-index" not in card


def test_every_column_is_explained():
    assert list(dataset_card.QUESTION_COLUMNS) == records.columns(records.Question)
    assert list(dataset_card.VOTE_COLUMNS) == [*records.columns(records.VotedQuestion), "kept", "reason"]


def test_without_a_licence_none_is_claimed(run, tmp_path, capsys):
    export.main([str(run), "round=1", f"to={tmp_path}/out"])
    for part in export.PARTS:
        card = card_of(tmp_path / "out" / part)
        assert "license:" not in card.split("\n---\n")[0]
        assert "**Not stated yet.**" in card
        assert "base_model" not in card
    assert "no licence" in capsys.readouterr().out


def test_the_challenger(run, tmp_path):
    export.main([str(run), "round=1", "role=challenger", f"to={tmp_path}/out"])
    card = card_of(tmp_path / "out/model")
    assert card.split("\n---\n")[1].startswith("\n# tiny: Challenger after round 1 of R-Zero\n")
    assert "'<|ask|>'" in card
    assert "model-index" not in card
    assert (tmp_path / "out/model/model.safetensors").read_bytes() == (
        run / "round_1/challenger/model/model.safetensors"
    ).read_bytes()


def test_a_run_with_human_examples_claims_nothing_else(run, tmp_path):
    text = (run / "settings.yaml").read_text()
    assert "anchors:\n  path: null" in text
    (run / "settings.yaml").write_text(text.replace("anchors:\n  path: null", "anchors:\n  path: /data/human.jsonl"))
    export.main([str(run), "round=1", f"to={tmp_path}/out"])
    cards = [card_of(tmp_path / "out" / part) for part in export.PARTS]
    assert "some examples by people" in cards[0]
    assert "some examples by people" in cards[1]
    assert not any("without data" in card or "No person" in card for card in cards)


def test_a_base_model_of_the_hub_is_named(run, tmp_path):
    finish(run, "base/model", {"model": "Qwen/Qwen3-0.6B-Base"})
    export.main([str(run), "round=1", f"to={tmp_path}/out"])
    assert "\nbase_model: Qwen/Qwen3-0.6B-Base\n" in card_of(tmp_path / "out/model")


def test_the_best_round(run, tmp_path):
    words = [str(run), "round=best", f"to={tmp_path}/out"]
    with pytest.raises(UserError, match="doesn't name a best round"):
        export.main(words)
    (run / "report.json").write_text('{"best_round": null}')
    with pytest.raises(UserError, match="doesn't name a best round"):
        export.main(words)
    (run / "report.json").write_text('{"best_round": {"round": 0}}')
    with pytest.raises(UserError, match="the base model itself"):
        export.main(words)
    (run / "report.json").write_text('{"best_round": {"rou')
    with pytest.raises(UserError, match=r"report\.json can't be read"):
        export.main(words)
    (run / "report.json").write_text('{"best_round": {"round": 1}}')
    export.main(words)
    assert "Solver after round 1" in card_of(tmp_path / "out/model")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["to={to}"], "round: not set"),
        (["round=1"], "to: not set"),
        (["round=2", "to={to}"], "the solver of this round is not done. Done are: 1."),
        (["round=0", "to={to}"], "round=0: this is not a whole number"),
        (["round=9", "to={to}"], "Done are: 1."),
        (["round=two", "to={to}"], "not a whole number"),
        (["round=2", "role=challenger", "to={to}"], "it was not trained in round 2"),
        (["round=1", "role=base", "to={to}"], "not one of solver, challenger"),
        (["round=1", "to="], "nothing stands behind"),
        (["round=1", "to={to}", "licence=mit"], "Did you mean license?"),
        (["round=1", "to={to}", "push=yes"], "push=yes"),
        (["round=1", "to=/tmp/x", "push=true"], "a name on the Hub"),
        (["round=1", "to=./x", "push=true"], "a name on the Hub"),
    ],
)
def test_what_cannot_be_done_is_refused(run, tmp_path, words, message):
    with pytest.raises(UserError) as refused:
        export.main([str(run), *(word.format(to=tmp_path / "out") for word in words)])
    assert message in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_nothing_of_others_is_overwritten(run, tmp_path):
    to = tmp_path / "out"
    words = [str(run), "round=1", f"to={to}"]
    to.mkdir()
    export.main(words)  # into an empty directory
    first = card_of(to / "model")
    (to / ".model.partial").mkdir()  # as an export leaves it that was killed
    export.main([*words, "license=mit"])  # over what was made before
    assert card_of(to / "model") != first
    assert sorted(path.name for path in to.iterdir()) == ["dataset", "model"]

    (to / "model/README.md").write_text("My own words.")
    with pytest.raises(UserError, match=r"model/README\.md was edited"):
        export.main(words)
    assert card_of(to / "model") == "My own words."
    (to / "model/README.md").unlink()
    shutil.rmtree(to / "model")
    (to / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt in it was not made by this command"):
        export.main(words)
    (to / "notes.txt").unlink()
    (to / "model").mkdir()
    with pytest.raises(UserError, match="model in it was not made"):
        export.main(words)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="this is a file"):
        export.main([str(run), "round=1", f"to={tmp_path}/file"])


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A run of TTRL whose only round is done, on the benchmark `unlabelled`."""
    run = tmp_path_factory.mktemp("export") / "given"
    made_run.ttrl(run, [0.4, 0.5], rounds=1)
    for seed, stage in enumerate(("base/model", "round_1/solver")):
        tiny_model(run / stage / "model", seed, as_verl_saves=bool(seed))
    for stage in ("base/evaluation", "round_1/evaluation"):
        names = ["tiny"] * 10 + ["unlabelled"] * 4
        rows = [{"benchmark": name, "right": [number % 2 == 0, True]} for number, name in enumerate(names)]
        pq.write_table(pa.Table.from_pylist(rows), run / stage / "answers.parquet")
    return run


def with_data(run: Path, data: str, benchmarks: str = "") -> None:
    """Change what the run was trained on."""
    text = (run / "settings.yaml").read_text()
    assert "data: unlabelled\n" in text
    text = text.replace("data: unlabelled\n", f"data: {data}\n").replace(
        "  benchmarks:\n", f"  benchmarks:\n{benchmarks}"
    )
    (run / "settings.yaml").write_text(text)


def test_a_model_of_ttrl_says_what_it_was_trained_on(given, tmp_path, capsys):
    from huggingface_hub import ModelCard

    export.main([str(given), "round=1", f"to={tmp_path}/out", "license=mit", "base_model=owner/base"])
    assert capsys.readouterr().out == f"model    {tmp_path}/out/model\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model"]
    card = card_of(tmp_path / "out/model")
    told = card.partition("## Settings")[0] + card.partition("## Versions")[2]
    assert not re.search("R-Zero|r-zero|Challenger|challenger|self-play|questions of its own", told)
    assert "\n# ttrl_tiny: Solver after round 1 of TTRL\n" in card
    assert "(https://huggingface.co/owner/base) after one round of [TTRL](https://arxiv.org/abs/2504.16084), " in card
    assert "The questions are those of `unlabelled`. In a step of GRPO it answered each question 16 times" in card
    assert "**Scores on the questions of `unlabelled` are not held-out**" in card
    assert "The questions of `unlabelled` are the ones it was trained on, and not held-out." in card
    scores, (_, base, made) = table(card, "Scores")[0], table(card, "Lineage")
    assert scores[3:] == ["unlabelled (trained on) greedy", "unlabelled (trained on) mean@1"]
    first, last = (f"`{model_hash(given / stage / 'model')}`" for stage in ("base/model", "round_1/solver"))
    assert (base, made) == (["base", first, "-", "-", "-"], ["round 1", last, "0.250", "0.500", "0.750"])
    data = ModelCard.load(tmp_path / "out/model/README.md").data
    assert data.tags == ["ttrl", "test-time-reinforcement-learning", "verl", "grpo", "solver"]
    assert [each.dataset_name for each in data.eval_results] == ["tiny"] * 2 + ["unlabelled (trained on)"] * 2
    assert data.datasets is None
    assert read_json(tmp_path / "out/model/rzero_export.json")["weights"] == last.strip("`")


def test_a_benchmark_of_the_hub_that_was_trained_on_is_linked(given, tmp_path):
    run = Path(shutil.copytree(given, tmp_path / "run"))
    with_data(run, "math500", "    math500: {path: null, n: null, k: null, temperature: null}\n")
    export.main([str(run), "round=1", f"to={tmp_path}/out"])
    card = card_of(tmp_path / "out/model")
    assert "`math500` ([HuggingFaceH4/MATH-500](https://huggingface.co/datasets/HuggingFaceH4/MATH-500))." in card
    assert "\ndatasets:\n- HuggingFaceH4/MATH-500\n" in card


def test_a_file_that_was_trained_on_is_named_and_nothing_of_it_told(given, tmp_path):
    run = Path(shutil.copytree(given, tmp_path / "run"))
    with_data(run, "/home/somebody/private.jsonl")
    export.main([str(run), "round=1", f"to={tmp_path}/out"])
    card = card_of(tmp_path / "out/model")
    assert "Where questions are also among those of `private.jsonl`, it was trained on them" in card
    assert "with a question of `private.jsonl` in place of `1+2`" in card
    assert "trained on) greedy" not in card
    assert "somebody" not in card
    assert "\ndatasets:" not in card


def test_ttrl_has_no_challenger_to_hand_on(given, tmp_path):
    with pytest.raises(UserError, match=r"role=challenger: a run of TTRL trains no Challenger\. Write role=solver\."):
        export.main([str(given), "round=1", "role=challenger", f"to={tmp_path}/out"])
    assert not (tmp_path / "out").exists()


def test_over_an_export_with_a_dataset_goes_one_without(run, given, tmp_path):
    for source in (run, given):
        export.main([str(source), "round=1", f"to={tmp_path}/out"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model"]


def test_of_a_ttrl_run_only_the_model_is_pushed(given, tmp_path, monkeypatch):
    pushed = []
    run = Path(shutil.copytree(given, tmp_path / "run"))
    monkeypatch.setattr(export.hub, "check_login", lambda: None)
    monkeypatch.setattr(export.hub, "push", lambda folder, repo, kind, private: pushed.append((folder, repo, kind)))
    export.main([str(run), "round=1", "push=true", "to=owner/name"])
    assert pushed == [(run / "export/owner__name/model", "owner/name", "model")]
    assert "owner/name-questions" not in card_of(run / "export/owner__name/model")


def test_a_text_cannot_break_out_of_its_block():
    from verl_rzero.publish import markdown

    assert markdown.fenced("yaml", "a: |\n  ```\n  x").startswith("````yaml\n")
    assert markdown.cell("a|b\nc") == "a\\|b c"
