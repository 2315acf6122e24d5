"""What a reward manager is handed of a response."""

from typing import Any


def response_text(tokenizer: Any, item: Any) -> str:
    """The text of one rollout (a DataProtoItem), without padding and special tokens."""
    ids = item.batch["responses"].tolist()
    written = sum(item.batch["attention_mask"][-len(ids) :].tolist())
    return str(tokenizer.decode(ids[:written], skip_special_tokens=True))
