"""What a reward manager is handed of a response."""

from typing import Any

from verl_rzero.base.text import encodable


def response_text(tokenizer: Any, item: Any) -> str:
    """The text of one rollout (a DataProtoItem), without padding and special tokens."""
    ids = item.batch["responses"].tolist()
    written = sum(item.batch["attention_mask"][-len(ids) :].tolist())
    return encodable(tokenizer.decode(ids[:written], skip_special_tokens=True))
