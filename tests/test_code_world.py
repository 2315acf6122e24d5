"""The code world: its programs beside Python, its corpus, tokenizer and benchmarks, the making of its base model."""

import json
import re
import subprocess
import sys
import warnings
from collections import Counter
from functools import cache
from itertools import islice
from random import Random
from statistics import mean

import pyarrow.parquet as pq
import pytest
import torch

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.code_world import PROMPTS, base_model, benchmark, corpus, gate, grammar, shape
from verl_rzero.code_world.__main__ import main
from verl_rzero.code_world.grammar import Line
from verl_rzero.code_world.judging import is_right, is_valid
from verl_rzero.code_world.prompts import INDUCTION_INPUTS, REFERENCES, proposing, solving
from verl_rzero.code_world.tokenizer import SYMBOLS, make_tokenizer
from verl_rzero.rules.code_tasks import ANSWERED_BY, KINDS, Task, blocks, proposal, solve_messages
from verl_rzero.tiny_world.task import ANSWER, Document
from verl_rzero.tiny_world.tokenizer import SPECIAL

PROGRAM = re.compile(r"def f\(a\):\n(?:    a = .*\n)*    return a")
CONFUSED = corpus.confused_lines(0)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def documents():
    """4,000 documents of the corpus."""
    return list(islice(corpus.documents(CONFUSED, Random(5)), 4000))


@pytest.fixture(scope="module")
def programs():
    rng = Random(1)
    return [grammar.draw_program(1 + number % 4, rng, held_out=number % 8 > 4) for number in range(400)]


def python(program: str, given: int) -> int:
    """What Python says."""
    return function(program)(given)


@cache
def function(program: str):
    """The programs are this file's and the corpus's, never a model's."""
    names: dict = {}
    exec(program, names)
    return names["f"]


def of_role(documents, role, kind):
    return [document for document in documents if document.prompt.startswith(f"<|{role}|><|{kind}|>")]


def asked(document: Document, kind: str) -> Task:
    """The task of a solver's document, with what its prompt shows."""
    program, given, made = (blocks(document.prompt, name) for name in ("python", "input", "output"))
    return Task(kind, program[0] if program else "", tuple(given), tuple(made))


# Programs


def test_programs_do_in_python_what_the_grammar_says(programs):
    for program in programs:
        text = grammar.text(program)
        for given in grammar.inputs(program):
            values = grammar.values(program, given)
            ways = [python(grammar.text(program[:lines]), given) for lines in range(len(program) + 1)]
            assert list(values) == ways
            assert grammar.run(program, given) == python(text, given) == values[-1]


def test_values_stay_in_range_and_tasks_can_be_made(programs):
    for program in programs:
        given = grammar.inputs(program)
        assert len(given) >= 8
        assert all(0 <= value <= 39 for each in given for value in grammar.values(program, each))
        assert len({grammar.run(program, each) for each in given}) >= 3
    times = (Line("times", 4),)
    assert (grammar.values(times, 9), grammar.values(times, 10)) == ((9, 36), None)
    assert grammar.values((Line("from", 10),), 11) is None


def test_a_program_has_as_many_lines_as_its_level(programs):
    assert Counter(map(len, programs)) == {1: 100, 2: 100, 3: 100, 4: 100}
    assert Counter(map(grammar.is_held_out, programs)) == {False: 250, True: 150}
    with pytest.raises(ValueError, match="level 1"):
        grammar.draw_program(1, Random(0), held_out=True)
    counts = Counter(line.operation for program in programs for line in program)
    assert set(counts) == set(grammar.OPERATIONS)


def test_a_text_is_read_as_the_program_that_it_is(programs):
    assert all(grammar.parse(grammar.text(program)) == program for program in programs)
    foreign = "def f(a):\n    a = a + -3\n    a = 200 - a\n    a = a % -7\n    a = max(a, -90)\n    return a"
    read = grammar.parse(foreign)
    assert read == (Line("plus", -3), Line("from", 200), Line("mod", -7), Line("max", -90))
    assert all(grammar.run(read, given) == python(foreign, given) for given in range(-300, 300))
    assert grammar.run((Line("mod", 0),), 5) is None
    assert grammar.parse("def f(a):\n    return a") == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def f(a):",
        "return a",
        "def f(a):\n    a = a + 3",
        "def f(a):\n    a = a + 03\n    return a",  # Python refuses such a number
        "def f(a):\n    a = a + a\n    return a",
        "def f(a):\n    a = a / 2\n    return a",
        "def f(a):\n  a = a + 3\n    return a",
        "def f(a):\n    a = a + 3\n    return a\n",
        "def f(a):\n    a = a + 3; import os\n    return a",
    ],
)
def test_other_text_is_no_program_of_the_grammar(text):
    assert grammar.parse(text) is None


def test_what_is_held_out_never_changes():
    after = [" ".join(map(str, line)) for line in grammar.LINES if grammar.is_held_out((Line("plus", 1), line))]
    assert ", ".join(after) == "plus 2, times 2, from 30, max 15, max 25, min 10, min 20, min 30"
    two = [(one, other) for one in grammar.LINES for other in grammar.LINES]
    assert sum(map(grammar.is_held_out, two)) / len(two) == pytest.approx(1 / 5, abs=0.03)
    assert not any(grammar.is_held_out((line,)) for line in grammar.LINES)
    assert not grammar.is_held_out(())


# The corpus


def test_no_held_out_program_is_in_the_corpus(documents):
    found = [text for document in documents for text in PROGRAM.findall(document.prompt + document.response)]
    assert len(found) > 4000
    assert not any(grammar.is_held_out(grammar.parse(text)) for text in found)


def test_without_confused_lines_every_solution_is_right():
    rng = Random(2)
    for kind in KINDS:
        for _ in range(300):
            document = corpus.solver_document(kind, {}, rng)
            task, (answer,) = asked(document, kind), blocks(document.response, ANSWERED_BY[kind])
            if kind == "induction":
                made = [str(python(answer, int(given))) for given in task.inputs]
                assert (made, len(made)) == ([*task.outputs], 2)
            else:
                given, made = (task.inputs[0], answer) if kind == "deduction" else (answer, task.outputs[0])
                assert str(python(task.program, int(given))) == made
                first, *rest = re.split("[=<]", document.response.split("\n")[0])
                working = [int(each.split(" ")[0]) for each in (first, *rest)]
                ways = working if kind == "deduction" else working[::-1]
                assert ways == [*grammar.values(grammar.parse(task.program), int(given))]


def test_half_of_the_lines_are_confused_with_another_of_the_same_operation():
    for confused in map(corpus.confused_lines, range(10)):
        # 3 of 6 constants for six operations, 2 of 3 for times.
        assert Counter(line.operation for line in confused) == dict.fromkeys(grammar.OPERATIONS, 3) | {"times": 2}
        assert all(line != other and line.operation == other.operation for line, other in confused.items())
        assert {*confused.values()} <= {*grammar.LINES}
    assert corpus.confused_lines(0) != corpus.confused_lines(1)


def test_confused_lines_are_taken_for_the_other_six_times_in_ten():
    rng, program = Random(3), (Line("plus", 1), *list(CONFUSED)[:1])
    assert program[0] not in CONFUSED
    taken = Counter(corpus.taken(program, CONFUSED, rng) for _ in range(4000))
    assert set(taken) == {program, (program[0], CONFUSED[program[1]])}
    assert taken[program] / 4000 == pytest.approx(0.4, abs=0.03)


def test_mistakes_are_those_of_confused_lines(documents):
    """A deduction's output is that of some reading of its program; where no line is confused, the right one."""
    wrong = clear = 0
    for document in of_role(documents, "solve", "deduction"):
        task, (answer,) = asked(document, "deduction"), blocks(document.response, "output")
        is_wrong = str(python(task.program, int(task.inputs[0]))) != answer
        if any(line in CONFUSED for line in grammar.parse(task.program)):
            wrong += is_wrong
        else:
            assert not is_wrong
            clear += 1
    assert clear > 200
    assert wrong > 200


def test_proposals_are_valid_in_python_and_mostly_short(documents):
    for kind in ("deduction", "abduction"):
        proposed = of_role(documents, "propose", kind)
        levels = []
        for document in proposed:
            made = proposal(kind, document.response, "", INDUCTION_INPUTS, think=False)
            assert 0 <= python(made.program, int(made.inputs[0])) <= 39
            levels.append(len(grammar.parse(made.program)))
        assert len(proposed) > 200
        # Weights .35**k for k = 1 to 4: .6598, .2309, .0808, .0283 of their sum, a mean of 1.478.
        assert mean(levels) == pytest.approx(1.478, abs=0.15)
        assert {len(blocks(document.prompt, "python")) for document in proposed} == {0, 1, 2, 3}
        assert any("'Hello world'" in document.prompt for document in proposed)


def test_proposals_for_induction_name_operations_and_give_four_inputs(documents):
    proposed = of_role(documents, "propose", "induction")
    assert len(proposed) > 200
    for document in proposed:
        (program,) = blocks(document.prompt, "python")
        made = proposal("induction", document.response, program, INDUCTION_INPUTS, think=False)
        assert len({*made.inputs}) == 4
        assert all(0 <= python(program, int(given)) <= 39 for given in made.inputs)
        named = [name.split(" ")[0] for name in made.message.split(", ")]
        assert named == ([line.operation for line in grammar.parse(program)] or ["same"])


def test_prompts_never_hold_what_is_to_be_found(documents):
    hidden = {"deduction": "output", "abduction": "input", "induction": "python"}
    for kind, name in hidden.items():
        solved = of_role(documents, "solve", kind)
        assert len(solved) > 800
        for document in solved:
            assert f"```{name}" not in document.prompt
            assert len(blocks(document.prompt, "input")) == {"deduction": 1, "abduction": 0, "induction": 2}[kind]


def test_a_message_tells_some_of_the_constants(documents):
    program = (Line("plus", 6), Line("mod", 7))
    assert grammar.message(program, [False, True]) == "plus, mod 7"
    solved = of_role(documents, "solve", "induction")
    named = [name for each in solved for name in each.prompt.removesuffix(ANSWER).split("```\n")[-1].split(", ")]
    assert mean(" " in name for name in named) == pytest.approx(0.6, abs=0.04)
    proposed = of_role(documents, "propose", "induction")
    named = [name for each in proposed for name in blocks(each.response, "message")[0].split(", ") if name != "same"]
    assert mean(" " in name for name in named) == pytest.approx(0.75, abs=0.05)


def test_documents_are_the_same_for_the_same_generator():
    one, two, other = (list(islice(corpus.documents(CONFUSED, Random(seed)), 60)) for seed in (3, 3, 4))
    assert one == two != other


# Prompts and tokens


def test_the_recipe_asks_as_the_corpus_does():
    loaded = settings.load(["model=code_tiny", "hardware=cpu"])
    assert loaded.self_play.prompts == PROMPTS
    assert (loaded.self_play.induction_inputs, loaded.self_play.references) == (INDUCTION_INPUTS, REFERENCES)
    assert (loaded.self_play.think, loaded.prompts.solver_user) == (False, "{question}")
    assert loaded.model.build_steps == base_model.STEPS


def test_a_prompt_ends_where_the_model_was_trained_to_begin(tokenizer, documents):
    task = Task("deduction", grammar.text((Line("plus", 3),)), ("4",), ("7",))
    turn = [{"role": "user", "content": solving(task)}]
    rendered = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    assert rendered == (
        "<|solve|><|deduction|>```python\ndef f(a):\n    a = a + 3\n    return a\n```\n```input\n4\n```<|answer|>"
    )
    assert all(document.prompt.endswith(ANSWER) and document.prompt.count(ANSWER) == 1 for document in documents)


def test_text_survives_the_tokenizer(tokenizer, documents):
    for document in documents[:2000]:
        text = document.prompt + document.response
        ids = tokenizer.encode(text)
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode(tokenizer.encode(f"{text}<eos>"), skip_special_tokens=True) == text
    assert len(tokenizer) == len(SPECIAL) + len(SYMBOLS) == shape.SHAPE["vocab_size"]
    for symbol in SYMBOLS:
        assert len(tokenizer.encode(symbol)) == 1, symbol


def test_a_prompt_and_its_tokens_do_not_depend_on_what_follows(tokenizer, documents):
    for document in documents[:500]:
        apart = tokenizer.encode(document.prompt) + tokenizer.encode(document.response)
        assert tokenizer.encode(document.prompt + document.response) == apart


def test_texts_fit_the_recipe(tokenizer, documents):
    model = settings.load(["model=code_tiny", "hardware=cpu"]).model
    assert max(len(tokenizer.encode(document.prompt)) for document in documents) <= model.prompt_tokens
    for role, most in (("propose", model.question_tokens), ("solve", model.answer_tokens)):
        replies = [each.response for kind in KINDS for each in of_role(documents, role, kind)]
        assert max(len(tokenizer.encode(reply)) for reply in replies) < most


@pytest.mark.parametrize("text", ["What?", "import os", "\t", "🙂é٣", "\x00", "  ", "<|im_end|>", "1.5", "{'a': [1]}"])
def test_foreign_text_becomes_unknown(tokenizer, text):
    ids = tokenizer.encode(f"7={text}")
    assert ids[:2] == tokenizer.convert_tokens_to_ids(["7", "="])
    assert tokenizer.unk_token_id in ids


def test_text_comes_out_whole_when_it_is_decoded_token_by_token(tokenizer, documents):
    """As vLLM does it."""
    from tokenizers.decoders import DecodeStream

    for document in documents[:50]:
        stream = DecodeStream(skip_special_tokens=True)
        pieces = [stream.step(tokenizer._tokenizer, token) for token in tokenizer.encode(f"{document.response}<eos>")]
        assert "".join(piece for piece in pieces if piece) == document.response


# What is measured


def test_a_deduction_is_right_where_the_output_is():
    task = Task("deduction", grammar.text((Line("plus", 3), Line("times", 2))), ("4",), ("14",))
    assert is_right(task, "4 plus 3=7 times 2=14\n```output\n14\n```")
    assert is_right(task, "```output\n4\n```\n```output\n14\n```")
    assert not is_right(task, "4 plus 3=7 times 2=14\n```output\n7\n```")
    assert not is_right(task, "14")


def test_an_abduction_is_right_with_any_input_that_gives_the_output():
    task = Task("abduction", grammar.text((Line("mod", 7),)), ("3",), ("3",))
    for given, right in (("3", True), ("10", True), ("-4", True), ("4", False), ("x", False), ("03", False)):
        assert is_right(task, f"```input\n{given}\n```") == right


def test_an_induction_is_right_with_any_program_that_gives_all_outputs():
    program = (Line("plus", 3), Line("plus", 1))
    task = corpus.task("induction", program, Random(0))
    assert is_right(task, f"```python\n{grammar.text(program)}\n```")
    assert is_right(task, f"```python\n{grammar.text((Line('plus', 4),))}\n```")
    assert not is_right(task, f"```python\n{grammar.text((Line('plus', 3),))}\n```")
    # Right on what is shown, 1 and 2, wrong on what is hidden, 30 and 31.
    task = Task("induction", grammar.text(program), ("1", "2", "30", "31"), ("5", "6", "34", "35"), "plus plus")
    assert not is_right(task, f"```python\n{grammar.text((*program, Line('min', 20)))}\n```")


def test_a_proposal_is_valid_where_its_program_takes_its_inputs():
    program = grammar.text((Line("plus", 3),))
    assert is_valid("deduction", f"```python\n{program}\n```\n```input\n4\n```")
    assert not is_valid("deduction", f"```python\n{program}\n```\n```input\n4,5\n```")
    assert not is_valid("abduction", f"```python\n{grammar.text((Line('mod', 0),))}\n```\n```input\n4\n```")
    four = "".join(f"```input\n{given}\n```\n" for given in (1, 2, 3, 4))
    assert is_valid("induction", f"{four}```message\nplus\n```", program)
    assert not is_valid("induction", four, program)


def test_benchmarks_are_held_out_distinct_and_balanced(tmp_path):
    for kind in KINDS:
        questions = benchmark.write(tmp_path / "b.parquet", kind, n=101, seed=0)
        rows = pq.read_table(tmp_path / "b.parquet").to_pylist()
        assert [row["question"] for row in rows] == questions
        assert len({*questions}) == 101
        assert Counter(row["level"] for row in rows) == {2: 34, 3: 34, 4: 33}
        for row in rows:
            answer = json.loads(row["answer"])
            assert grammar.is_held_out(grammar.parse(answer["program"]))
            assert answer["outputs"] == [str(python(answer["program"], int(given))) for given in answer["inputs"]]
            message = row["question"].split("```\n")[-1] if kind == "induction" else ""
            task = Task(kind, answer["program"], tuple(answer["inputs"]), tuple(answer["outputs"]), message)
            assert solve_messages(PROMPTS, task) == [{"role": "user", "content": row["question"]}]
            assert (row["question"].strip(), answer["kind"]) == (row["question"], kind)
        assert min(Counter(row["level"] for row in rows[:60]).values()) > 10  # the first rows are a fair sample too
        assert [row["level"] for row in rows[:6]] != [2, 3, 4, 2, 3, 4]
        others = benchmark.draw(kind, 50, 0, without=questions)
        assert not {*questions} & {solving(task) for task in others}
        assert benchmark.draw(kind, 50, 0) != benchmark.draw(kind, 50, 1)


def test_a_benchmark_that_cannot_be_made_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="benchmarks.tiny: this world has no tasks of that name"):
        benchmark.write(tmp_path / "b.parquet", "tiny", 10, 0)
    monkeypatch.setattr(benchmark, "TRIES", 3)  # of draws in a row that give nothing new, far fewer than by itself
    with pytest.raises(UserError, match=r"benchmarks.abduction.n=9000: after \d+ tasks there is no new one of level 2"):
        benchmark.draw("abduction", 9000, 0)


def test_the_gate_asks_for_room_and_for_valid_proposals():
    def passed(sampled, valid):
        return gate.Gate(dict.fromkeys(KINDS, 0.5), {**dict.fromkeys(KINDS, 0.4), **sampled}, valid).passed

    valid = dict.fromkeys(KINDS, 0.9)
    assert passed({}, valid)
    assert not passed({"induction": 0.05}, valid)
    assert not passed({"deduction": 0.9}, valid)
    assert not passed({}, {**valid, "abduction": 0.7})


# The base model


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out, seen = tmp_path_factory.mktemp("base") / "model", []

    def progress(done, total, note):
        assert torch.get_num_threads() == 1
        seen.append((done, total))

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        for name, value in (("QUESTIONS", 4), ("SAMPLES", 2), ("PROPOSALS", 4), ("REPLY_TOKENS", 6)):
            patch.setattr(gate, name, value)
        warnings.simplefilter("always")
        numbers = base_model.build(out, 0, 20, progress)
    return out, numbers, seen, [str(each.message) for each in caught if each.category is UserWarning]


def test_a_built_model_loads_and_answers(built, tokenizer):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out, numbers, seen, warned = built
    model, loaded = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert (model.config.model_type, model.config.vocab_size) == ("qwen3", shape.SHAPE["vocab_size"])
    assert 0.2e6 < sum(weights.numel() for weights in model.parameters()) < 0.25e6
    assert model.generation_config.eos_token_id == loaded.eos_token_id
    text = proposing("induction", program=grammar.text((Line("plus", 3),))) + ANSWER
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.chat_template == tokenizer.chat_template
    written = model.generate(torch.tensor([loaded.encode(text)]), max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert written.shape == (1, len(loaded.encode(text)) + 4)
    assert json.loads((out / "build.json").read_text()) == numbers
    kinds = {f"{kind}_{name}" for kind in KINDS for name in ("greedy", "sampled", "valid")}
    assert {*numbers} == {*kinds, "steps", "tokens", "seconds", "loss", "passed"}
    assert (seen[-1], numbers["steps"], numbers["passed"]) == ((20, 20), 20, False)
    assert len(warned) == 1
    assert "not fit for self-play" in warned[0]
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_an_existing_directory_is_not_overwritten(built):
    with pytest.raises(FileExistsError, match="name another"):
        base_model.build(built[0], 0, 1, lambda done, total, note: None)


def test_a_run_makes_the_model_and_its_benchmarks(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from verl_rzero.methods import base_models

    def build(out, seed, steps, progress):
        progress(steps, steps, "")
        return {"made": [out, seed, steps]}

    monkeypatch.setattr(base_model, "build", build)
    asked_for = settings.load(["model=code_tiny", "hardware=cpu", "model.build_seed=3"])
    stage = SimpleNamespace(settings=asked_for, dir=tmp_path)
    assert base_models.BUILDS[asked_for.model.build](stage) == {"made": [tmp_path / "model", 3, base_model.STEPS]}
    for kind in KINDS:
        assert pq.read_table(tmp_path / f"benchmark_{kind}.parquet").num_rows == 100


def test_a_directory_beside_a_model_that_is_built_is_refused(tmp_path):
    with pytest.raises(UserError, match="the base model is built here"):
        settings.load(["model=code_tiny", "hardware=cpu", f"model.path={tmp_path}"])


def test_importing_the_world_loads_no_engine():
    code = "import sys, verl_rzero.code_world; print(sorted({'torch', 'transformers', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_command_line_writes_a_benchmark(tmp_path, capsys):
    main(["benchmark", f"out={tmp_path / 'b.parquet'}", "kind=abduction", "n=12"])
    assert pq.read_table(tmp_path / "b.parquet").num_rows == 12
    assert "12 tasks of abduction" in capsys.readouterr().out
    with pytest.raises(UserError, match="Command line"):
        main(["bild"])
