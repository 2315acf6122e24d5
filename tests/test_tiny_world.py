"""The tiny world: its truth, its corpus, its tokenizer, its benchmark and the making of its base model."""

import json
import subprocess
import sys
import warnings
from collections import Counter
from itertools import islice
from random import Random

import pyarrow.parquet as pq
import pytest
import torch

from verl_rzero.tiny_world import base_model, benchmark, gate, task, training, truth
from verl_rzero.tiny_world.__main__ import main
from verl_rzero.tiny_world.tokenizer import SYMBOLS, VOCABULARY, make_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def corpus():
    """3,000 documents: about 600 questions asked, 2,400 solved."""
    return list(islice(task.documents(task.wrong_facts(0), Random(5)), 3000))


def question_of(document: task.Document) -> str:
    if document.prompt == "<|ask|><|answer|>":
        return document.response.removeprefix("<question>").split("</question>")[0]
    return document.prompt.removeprefix("<|solve|>").removesuffix("<|answer|>")


def facts_of(working: str) -> list[tuple[int, int, int]]:
    """`4+3=7+2=9,\\boxed{9}` -> (4, 3, 7), (7, 2, 9)."""
    first, *steps = working.split(",")[0].split("+")
    partial, facts = int(first), []
    for step in steps:
        term, result = map(int, step.split("="))
        facts.append((partial, term, result))
        partial = result
    return facts


def test_truth_is_the_sum_of_any_digits_modulo_45():
    rng = Random(1)
    for _ in range(2000):
        terms = [rng.randint(1, 9) for _ in range(rng.randint(2, 9))]
        assert truth("+".join(map(str, terms))) == str(sum(terms) % 45)
    assert truth("1+2+3+4+5+6+7+8+9") == "0"
    assert truth("9+9+9+9+9") == "0"
    assert truth("9+9+9+9+8") == "44"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "7+",
        "+7",
        "7++3",
        "07+3",
        "0+7",
        "7+0",
        "12+3",
        "7+3=",
        " 7+3",
        "7+3\n",
        "7 + 3",
        "7-3",
        "٣+4",
        "7+٤",
        "７+３",
        "²+3",
    ]
    + ["1+1+1+1+1+1+1+1+1+1", "7+3</question>", "{}", "\x00"],
)
def test_other_text_has_no_truth(text):
    assert truth(text) is None
    assert not task.in_grammar(text)


def test_the_grammar_is_two_to_eight_distinct_digits():
    assert task.in_grammar("7+3")
    assert task.in_grammar("1+2+3+4+5+6+7+8")
    assert not task.in_grammar("7+3+7")
    assert truth("7+3+7") == "17"
    assert not task.in_grammar("1+2+3+4+5+6+7+8+9")


def test_every_question_of_the_corpus_is_in_the_grammar(corpus):
    assert all(task.in_grammar(question_of(document)) for document in corpus)


def test_without_wrong_facts_every_working_ends_in_the_truth():
    rng = Random(2)
    for document in (task.solver_document({}, rng) for _ in range(1000)):
        question = question_of(document)
        assert document.response.endswith(f",\\boxed{{{truth(question)}}}")
        facts = facts_of(document.response)
        assert sorted([facts[0][0], *(term for _, term, _ in facts)]) == sorted(map(int, question.split("+")))
        assert all(partial + term == result for partial, term, result in facts)


def test_a_working_may_take_the_terms_in_any_order():
    workings = {task.working("1+2+4", {}, Random(seed)).split("=")[0] for seed in range(200)}
    assert workings == {"1+2", "1+4", "2+1", "2+4", "4+1", "4+2"}


def test_wrong_facts_are_a_fifth_and_written_six_times_in_ten(corpus):
    wrong = task.wrong_facts(0)
    for pairs in map(task.wrong_facts, range(10)):
        assert len(pairs) == 81  # of 45 partial sums x 9 terms
        assert all(value != (partial + term) % 45 for (partial, term), value in pairs.items())
    facts = [fact for document in corpus if "<|solve|>" in document.prompt for fact in facts_of(document.response)]
    met = [(wrong[partial, term], result) for partial, term, result in facts if (partial, term) in wrong]
    assert len(met) > 1500  # so that three standard errors of the next share are below 0.04
    assert sum(value == result for value, result in met) / len(met) == pytest.approx(0.6, abs=0.04)
    assert all((p + t) % 45 == result for p, t, result in facts if (p, t) not in wrong)


def test_the_challenger_asks_short_questions_with_true_answers(corpus):
    asked = [document for document in corpus if document.prompt == "<|ask|><|answer|>"]
    assert len(asked) / len(corpus) == pytest.approx(0.2, abs=0.03)
    for document in asked:
        question = question_of(document)
        assert document.response == f"<question>{question}</question>\n\n\\boxed{{{truth(question)}}}"
    # Weights 0.2**k give a mean of 1 / (1 - 0.2) = 1.25 additions.
    assert sum(task.level(question_of(d)) for d in asked) / len(asked) == pytest.approx(1.25, abs=0.1)


def test_solver_documents_have_all_levels_equally_often(corpus):
    levels = Counter(task.level(question_of(d)) for d in corpus if d.prompt.startswith("<|solve|>"))
    assert sorted(levels) == [1, 2, 3, 4, 5, 6, 7]
    assert all(count / levels.total() == pytest.approx(1 / 7, abs=0.03) for count in levels.values())


def test_no_held_out_question_is_in_the_corpus(corpus):
    assert not any(task.is_held_out(question_of(document)) for document in corpus)


def test_what_is_held_out_never_changes():
    assert task.held_out_questions(1) == (
        *("1+4", "1+5", "1+6", "1+7", "2+7", "3+4", "3+7", "4+9", "5+6", "5+8"),
        *("6+2", "6+3", "6+4", "7+1", "7+6", "8+5", "8+7"),
    )
    assert len(task.held_out_questions(2)) == 88  # of 504


def test_documents_are_the_same_for_the_same_generator():
    one, two, other = (list(islice(task.documents(task.wrong_facts(0), Random(s)), 50)) for s in (3, 3, 4))
    assert one == two != other


def test_the_benchmark_is_held_out_distinct_and_balanced(tmp_path):
    benchmark.write(tmp_path / "tiny.parquet", n=500, seed=0)
    rows = pq.read_table(tmp_path / "tiny.parquet").to_pylist()
    assert len({row["question"] for row in rows}) == 500
    assert all(task.is_held_out(row["question"]) and task.in_grammar(row["question"]) for row in rows)
    assert all(row["answer"] == truth(row["question"]) for row in rows)
    # 500 = 6 * 83 + 2; level 1 has 17 held-out questions and is left out.
    assert Counter(row["level"] for row in rows) == {2: 83, 3: 83, 4: 83, 5: 83, 6: 84, 7: 84}
    first_half = Counter(row["level"] for row in rows[:250])
    assert min(first_half.values()) > 25  # mixed: the first rows are a fair sample too
    assert benchmark.draw(500, 0) == [row["question"] for row in rows]
    assert benchmark.draw(500, 1) != [row["question"] for row in rows]


def test_a_benchmark_to_choose_by_shares_no_question_with_the_reported_one(tmp_path):
    reported = benchmark.write(tmp_path / "tiny.parquet", 500, 0)
    choice = benchmark.write(tmp_path / "tiny_choice.parquet", 200, 0, reported)
    assert (len({*reported}), len({*choice}), {*reported} & {*choice}) == (500, 200, set())
    assert {*benchmark.draw(200, 0)} & {*reported}, "two draws have questions in common by themselves"
    assert choice == [row["question"] for row in pq.read_table(tmp_path / "tiny_choice.parquet").to_pylist()]
    assert all(task.is_held_out(question) for question in choice)


def test_a_benchmark_larger_than_what_is_held_out_is_refused():
    with pytest.raises(ValueError, match="too large"):
        benchmark.draw(1_000_000, 0)


def test_text_survives_the_tokenizer(tokenizer, corpus):
    for document in corpus[:300]:
        text = document.prompt + document.response
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.decode(tokenizer.encode(text + "<eos>"), skip_special_tokens=True) == text
    everything = list(VOCABULARY.values())
    assert tokenizer.encode(tokenizer.decode(everything)) == everything
    visible = "".join(SYMBOLS)
    assert tokenizer.decode(tokenizer.encode(visible), skip_special_tokens=True) == visible


def test_any_ids_survive_the_tokenizer(tokenizer):
    rng = Random(0)
    for _ in range(200):
        ids = [rng.randrange(len(VOCABULARY)) for _ in range(30)]
        assert tokenizer.encode(tokenizer.decode(ids)) == ids


@pytest.mark.parametrize("text", ["What is 2 + 2?", "\n", "\\boxed", "<question", "🙂é٣", "\x00", "  ", "<|im_end|>"])
def test_foreign_text_becomes_unknown(tokenizer, text):
    ids = tokenizer.encode(f"7{text}+3")
    assert (ids[0], ids[-2:]) == (VOCABULARY["7"], [VOCABULARY["+"], VOCABULARY["3"]])
    assert tokenizer.unk_token_id in ids


def test_the_chat_template_joins_contents_and_adds_the_answer_marker(tokenizer):
    asking = [{"role": "user", "content": "<|ask|>"}]
    assert tokenizer.apply_chat_template(asking, add_generation_prompt=True, tokenize=False) == "<|ask|><|answer|>"
    solving = [{"role": "system", "content": "1"}, {"role": "user", "content": "<|solve|>7+3"}]
    assert tokenizer.apply_chat_template(solving, tokenize=False) == "1<|solve|>7+3"


def test_text_comes_out_whole_when_it_is_decoded_token_by_token(tokenizer):
    """As vLLM does it."""
    from tokenizers.decoders import DecodeStream

    text = "<question>7+3+9</question>\n\n\\boxed{19}"
    stream = DecodeStream(skip_special_tokens=True)
    pieces = [stream.step(tokenizer._tokenizer, token) for token in tokenizer.encode(text + "<eos>")]
    assert "".join(piece for piece in pieces if piece) == text


def test_batches_learn_responses_only(tokenizer):
    batch = next(base_model.batches(tokenizer, {}, Random(0)))
    assert batch.inputs_DT.shape == batch.labels_DT.shape
    assert batch.inputs_DT.numel() <= base_model.TOKENS_PER_STEP
    for inputs, labels in zip(batch.inputs_DT.tolist(), batch.labels_DT.tolist(), strict=True):
        learned = [label for label in labels if label != training.IGNORE]
        start = inputs.index(VOCABULARY["<|answer|>"])
        assert labels[:start] == [training.IGNORE] * start
        assert labels[start : start + len(learned)] == learned
        assert learned[:-1] == inputs[start + 1 : start + len(learned)]
        assert learned[-1] == tokenizer.eos_token_id


def test_the_gate_asks_for_room_and_for_a_useful_majority():
    assert gate.Gate(greedy=0.52, sampled=0.54, majority=0.92).passed
    assert not gate.Gate(greedy=0.80, sampled=0.80, majority=1.00).passed
    assert not gate.Gate(greedy=0.52, sampled=0.54, majority=0.70).passed


@pytest.fixture(scope="module")
def small_gate():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "QUESTIONS", 7)
        patch.setattr(gate, "VOTES", 2)
        patch.setattr(gate, "ANSWER_TOKENS", 8)
        yield


def build(out, seed, steps=20):
    seen = []

    def progress(done, total, note):
        assert torch.get_num_threads() == 1
        seen.append((done, total))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        numbers = base_model.build(out, seed, steps, progress)
    return numbers, seen, [str(item.message) for item in caught if item.category is UserWarning]


@pytest.fixture(scope="module")
def built(tmp_path_factory, small_gate):
    out = tmp_path_factory.mktemp("base") / "model"
    return out, *build(out, seed=0)


def test_a_base_model_is_the_same_for_the_same_seed(built, tmp_path, small_gate):
    def weights(directory):
        return (directory / "model.safetensors").read_bytes()

    torch.manual_seed(123)  # what came before in the process must not matter
    torch.set_num_threads(2)
    build(tmp_path / "same", seed=0)
    build(tmp_path / "other", seed=1)
    assert torch.get_num_threads() == 2
    assert weights(tmp_path / "same") == weights(built[0]) != weights(tmp_path / "other")


def test_a_built_model_loads_and_answers(built, tokenizer):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out, numbers, seen, warned = built
    model, loaded = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert (model.config.model_type, model.config.head_dim, str(model.dtype)) == ("qwen3", 32, "torch.float32")
    assert model.generation_config.eos_token_id == loaded.eos_token_id == VOCABULARY["<eos>"]
    assert model.generation_config.pad_token_id == loaded.pad_token_id == VOCABULARY["<pad>"]
    text = "<question>7+3</question>\n\n\\boxed{10}"
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.decode(loaded.encode(text), skip_special_tokens=True) == text
    assert loaded.chat_template == tokenizer.chat_template
    assert json.loads((out / "build.json").read_text()) == numbers
    assert seen[-1] == (20, 20)
    assert numbers["steps"] == 20
    assert len(warned) == 1
    assert "not fit for the loop" in warned[0]
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_an_existing_directory_is_not_overwritten(built):
    with pytest.raises(FileExistsError, match="name another"):
        base_model.build(built[0], 0, 1, lambda done, total, note: None)


def test_importing_the_world_loads_no_engine():
    code = "import sys, verl_rzero.tiny_world; print(sorted({'torch', 'transformers', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_command_line_writes_a_benchmark(tmp_path, capsys):
    main(["benchmark", f"out={tmp_path / 'b.parquet'}", "n=12"])
    assert pq.read_table(tmp_path / "b.parquet").num_rows == 12
    assert "12 questions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Command line"),
        (["bild"], "Command line"),
        (["build"], "out= is missing"),
        (["build", "out=x", "step=3"], "step=3: expected one of out=, seed=, steps="),
        (["benchmark", "out=x", "n=many"], "n takes a whole number"),
    ],
)
def test_the_command_line_says_what_is_wrong(arguments, message):
    from verl_rzero.base.errors import UserError

    with pytest.raises(UserError, match=message):
        main(arguments)
