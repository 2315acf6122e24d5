"""A model of random weights that can go through a whole round, and questions for it: `python -m gpu.model SIZES TO`.

Every sixth word of its vocabulary reads as a question with a boxed answer, so that texts of random words hold
questions and answers; its end comes with the same chance after each word, so that replies are about as long as asked.
"""

import math
import sys
from pathlib import Path
from typing import Any

from verl_rzero import settings
from verl_rzero.data import records
from verl_rzero.rules.answers import question_block
from verl_rzero.rules.prompts import solver_messages

QWEN3_06B = {
    "vocab_size": 151936,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
SMALL = {
    "vocab_size": 2048,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
SIZES = {"qwen3_06b": (QWEN3_06B, 200), "small": (SMALL, 24)}
"""By name: what config.json says, and tokens of a reply on average."""

POSITIONS = 4096
PAD, END, UNKNOWN, REPLY, NEWLINE = SPECIAL = ("<pad>", "<|im_end|>", "<unk>", "<reply>", "\n")
"""verl's own rollouts ask a Qwen for the second and the last."""

EVERY, QUESTION_WORDS, ANSWERS = 6, 8, 3
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    f"{{% if add_generation_prompt %}}{REPLY}{{% endif %}}"
)
COMMON_PART = 4.0
"""Of every word's embedding, in the first place: what a score can be raised by whatever stands before."""

ROWS = "rows.parquet"
ROWS_COUNT = 256


def words(count: int) -> list[str]:
    """The vocabulary. No word holds a blank, so that a text's tokens can be counted."""
    return [*SPECIAL, *(form(i, count) if i % EVERY == 0 else f"w{i}" for i in range(len(SPECIAL), count))]


def form(number: int, count: int) -> str:
    """The word of this number as a question of plain words, another for each form, with a boxed answer."""
    place, forms = number // EVERY, count // EVERY
    asked = ",".join(f"w{EVERY * (1 + (place + k) % (forms - 1)) + 1}" for k in range(QUESTION_WORDS))
    return f"<question>{asked}</question>\\boxed{{{place % ANSWERS}}}"


def tokens(text: str, finished: bool = True) -> int:
    """How many tokens the model sampled for a text, its end included."""
    return len(text.split()) + finished


def tokenizer(count: int) -> Any:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words(count))}, unk_token=UNKNOWN))
    between = pre_tokenizers.Split(",", behavior="removed")
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), between])
    backend.add_tokens([AddedToken(NEWLINE, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=POSITIONS,
    )


def make(sizes: dict[str, int], mean_tokens: int) -> Any:
    """A Qwen3 in bfloat16 that ends a reply after each word with the chance 1 / mean_tokens, nearly."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    torch.manual_seed(0)
    count, pad, end = sizes["vocab_size"], SPECIAL.index(PAD), SPECIAL.index(END)
    config = Qwen3Config(
        **sizes,
        initializer_range=0.005,
        max_position_embeddings=POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=True,
        bos_token_id=None,
        pad_token_id=pad,
        eos_token_id=end,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        table[:, 0] = COMMON_PART
        some = model(torch.randint(len(SPECIAL), count, (4, 64)), output_hidden_states=True)
        common = some.hidden_states[-1][..., 0].float().mean().item()
        others = some.logits.float().logsumexp(-1).mean() - some.logits[..., end].float().mean()
        table[end, 0] += (others.item() - math.log(mean_tokens)) / common
    return model


def make_rows(to: Path, count: int) -> None:
    """Questions with labels, as a Solver is trained on."""
    prompts, vocabulary = settings.load(["model=small"]).prompts, words(count)
    rows = []
    for number in range(ROWS_COUNT):
        question = str(question_block(vocabulary[EVERY * (1 + number)]))
        label = {"style": "rule", "ground_truth": str(number % ANSWERS)}
        about = {"index": number, "id": number, "agreement": 0.5}
        rows.append(records.SolverRow("shape", solver_messages(prompts, question), "math", label, about))
    records.write(to, rows, records.SolverRow)


def main(name: str, to: Path) -> None:
    sizes, mean_tokens = SIZES[name]
    make(sizes, mean_tokens).save_pretrained(to)
    tokenizer(sizes["vocab_size"]).save_pretrained(to)
    make_rows(to / ROWS, sizes["vocab_size"])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
