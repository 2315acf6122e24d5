"""The tokenizer of the tiny world: one token per symbol, a plain Hugging Face fast tokenizer. Loads transformers."""

import re
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from verl_rzero.tiny_world.shape import POSITIONS
from verl_rzero.tiny_world.task import ANSWER, ASK, SOLVE

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
# Only these vanish from decoded text. The markers stay: a reply that contains one is malformed and must show it.
SPECIAL = [PAD, EOS, UNKNOWN]
SYMBOLS = [SOLVE, ASK, ANSWER, "<question>", "</question>", "\n\n", "\\boxed{", "}", "+", "=", ",", *"0123456789"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    f"{{% if add_generation_prompt %}}{ANSWER}{{% endif %}}"
)
VOCABULARY = {symbol: index for index, symbol in enumerate(SPECIAL + SYMBOLS)}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The tiny world's."""
    return tokenizer_of(SYMBOLS)


def tokenizer_of(symbols: Sequence[str]) -> PreTrainedTokenizerFast:
    """Splits text into the symbols; what stands between them becomes `<unk>`. Decoding puts nothing between symbols.

    Of two symbols that begin alike the one that comes first in `symbols` is found: write the longer one first.
    """
    vocabulary = {symbol: index for index, symbol in enumerate([*SPECIAL, *symbols])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    pattern = "|".join(map(re.escape, symbols))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=POSITIONS,
    )
