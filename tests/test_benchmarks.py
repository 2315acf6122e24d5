# ruff: noqa: E501 (rows of a table)
"""The benchmarks that are known by name, on small files with the columns of each dataset, and files of one's own."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl_rzero.base.errors import UserError
from verl_rzero.evaluation.load import check, load
from verl_rzero.settings.benchmarks import TABLE, benchmark

OPTIONS = ["Rome", "Paris", "Oslo"]

PROMPT = 'def g(a):\n    """ P """\n'
CODE = "def g(a):\n    return a"
TEST = """
def assertion(out, exp, atol):
    assert out == exp

def check(candidate):
    inputs = [[1], [2]]
    results = [1, 2]
    for i, (inp, exp) in enumerate(zip(inputs, results)):
        assertion(candidate(*inp), exp, 0)
"""

LIKE = {
    "math500": ({"problem": "P", "solution": "...", "answer": "\\frac{1}{2}", "unique_id": "t/1"}, "\\frac{1}{2}"),
    "gsm8k": ({"question": "P", "answer": "She has 1000+234 <<1000+234=1234>>.\n#### 1,234"}, "1234"),
    "amc23": ({"id": 0, "question": "P", "answer": 27.0}, "27"),
    "minerva": ({"problem": "P", "answer": "1.6e-19"}, "1.6e-19"),
    "olympiad": ({"question": "P", "final_answer": ["$2$", "$3$"], "is_multiple_answer": False}, "$2$"),
    "aime24": ({"problem": "P", "solution": "...", "answer": "033"}, "033"),
    "aime25": ({"problem": "P", "solution": "...", "answer": "70"}, "70"),
    "mmlu_pro": ({"question": "P", "options": OPTIONS, "answer": "B", "answer_index": 1, "category": "x"}, "B"),
    "supergpqa": ({"question": "P", "options": OPTIONS, "answer": "Paris", "answer_letter": "B"}, "B"),
    "bbeh": ({"question": "P", "answer": "(A), (C)", "task": "x"}, "(A), (C)"),
    "humanevalplus": (
        {"task_id": "HumanEval/0", "prompt": PROMPT, "canonical_solution": "    return a\n", "entry_point": "g", "test": TEST},
        f"{PROMPT}    return a\n",
    ),
    "mbppplus": (
        {"task_id": 2, "code": CODE, "prompt": "P", "source_file": "x", "test_imports": [], "test_list": ["assert g(1) == 1"], "test": TEST.replace("candidate", "g")},
        CODE,
    ),
}  # fmt: skip


def test_every_benchmark_of_the_table_has_an_example():
    assert LIKE.keys() == TABLE.keys()


@pytest.mark.parametrize("name", LIKE)
def test_a_dataset_s_own_columns_are_read(name, tmp_path):
    row, answer = LIKE[name]
    pq.write_table(pa.Table.from_pylist([row, row]), tmp_path / "rows.parquet")
    loaded = load(name, tmp_path / "rows.parquet", None)
    assert len(loaded.items) == 2
    assert "P" in loaded.items[0].question
    assert loaded.items[0].answer == answer
    assert loaded.grader == TABLE[name].grader


def test_a_multiple_choice_question_is_asked_with_its_options():
    (item,) = benchmark("mmlu_pro", [LIKE["mmlu_pro"][0]]).items
    assert item.question.startswith("P\n\nOptions:\n(A) Rome\n(B) Paris\n(C) Oslo\n\n")
    assert "letter" in item.question
    assert "\\boxed{}" in item.question
    assert item.options == 3


def test_a_file_of_one_s_own(tmp_path):
    rows = [
        {"question": "1+1", "answer": 2},
        {"question": "2+2", "answer": "4\u2028"},
        {"question": "3+3", "answer": 6},
    ]
    pq.write_table(pa.table({"question": ["1+1", "2+2"], "answer": [2, 4]}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n")
    (tmp_path / "c.json").write_text(json.dumps(rows))
    asked = [
        [(item.question, item.answer) for item in load("mine", tmp_path / name, n).items]
        for name, n in (("a.parquet", None), ("b.jsonl", 2), ("c.json", 1), ("a.parquet", 9))
    ]
    two = [("1+1", "2"), ("2+2", "4")]
    assert asked == [two, two, two[:1], two]
    assert load("mine", tmp_path / "a.parquet", None).grader == "math"


def test_directories_that_datasets_saved_and_copies_of_a_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    import datasets

    right, wrong = (
        datasets.Dataset.from_list([{"question": "1+1", "answer": "2"}]),
        datasets.Dataset.from_list([{"text": "x"}]),
    )
    right.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": wrong, "test": right}).save_to_disk(tmp_path / "splits")
    datasets.DatasetDict({"train": wrong, "dev": right}).save_to_disk(tmp_path / "no_test")
    (tmp_path / "copy/data").mkdir(parents=True)
    right.to_parquet(tmp_path / "copy/data/test-00000-of-00001.parquet")
    (tmp_path / "empty").mkdir()
    for name in ("one", "splits", "copy"):
        (item,) = load("mine", tmp_path / name, None).items
        assert (item.question, item.answer) == ("1+1", "2"), name
    with pytest.raises(UserError, match="splits train, dev, no test"):
        load("mine", tmp_path / "no_test", None)
    with pytest.raises(UserError, match="empty holds no dataset that can be read"):
        load("mine", tmp_path / "empty", None)


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("mine", [], "no row in it"),
        ("mine", [{"problem": "1+1", "answer": "2"}], "no question"),
        ("mine", [{"question": "1+1"}], "no answer"),
        ("mine", [{"question": "1+1", "answer": None}], "row 0 has no answer"),
        ("mine", [{"question": " ", "answer": "2"}], "row 0 has no question"),
        ("gsm8k", [{"question": "1+1", "answer": "two"}], "row 0 has no answer"),
        ("olympiad", [{"question": "1+1", "final_answer": []}], "row 0 has no answer"),
        (
            "mmlu_pro",
            [{"question": "1+1", "answer": "D", "options": OPTIONS}],
            "row 0 has 3 options, its answer is 'D'",
        ),
    ],
)
def test_rows_that_cannot_be_used_are_refused(name, rows, words):
    with pytest.raises(UserError, match=words):
        benchmark(name, rows)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [("x.jsonl", "{", "not JSON"), ("x.jsonl", "[1]", "one JSON object a line"), ("x.parquet", "x", "as parquet"),
     ("x.csv", "question,answer", "none of .parquet")],
)  # fmt: skip
def test_files_that_cannot_be_read_are_refused(file, content, words, tmp_path):
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=words):
        load("mine", tmp_path / file, None)
    with pytest.raises(UserError, match="nowhere.jsonl is not there"):
        load("mine", tmp_path / "nowhere.jsonl", None)


def test_without_hub_and_cache_the_check_says_what_to_do(tmp_path, monkeypatch):
    """In a process of its own, as before a run; offline mode keeps it from looking for the hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(UserError, match=r"benchmark aime24: HuggingFaceH4/aime_2024 is neither .*aime24\.path="):
        check({"aime24": {"path": None, "n": None}})
    check({})  # what a run of the tiny world asks: no process, no network


def test_the_content_hash_follows_questions_and_answers():
    hashes = {
        benchmark("mine", rows).content
        for rows in (
            [{"question": "1+1", "answer": "2"}],
            [{"question": "1+1", "answer": "3"}],
            [{"question": "1+2", "answer": "3"}],
            [{"question": "1+1", "answer": "2"}, {"question": "1+2", "answer": "3"}],
        )
    }
    assert len(hashes) == 4
    assert benchmark("yours", [{"question": "1+1", "answer": "2", "more": 1}]).content in hashes
