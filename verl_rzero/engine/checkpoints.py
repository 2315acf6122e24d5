"""A trained model as a directory that any Hugging Face program can load."""

from pathlib import Path

from verl_rzero.base.files import read_json, write_json


def make_portable(model: Path, start: Path | str) -> None:
    """Take out of `model`'s config.json what belongs to the machine that trained it.

    verl saves the attention that it trained with, which is not there elsewhere (`packed_sdpa` on a CPU,
    `flash_attention_2` on GPUs), and calls the weights bfloat16 whatever they are; transformers then refuses to load
    the directory, or rounds its weights. The dtype becomes that of `start`, the model that training began with, where
    that is a directory.
    """
    config = read_json(model / "config.json")
    config.pop("attn_implementation", None)
    began = Path(start) / "config.json"
    if began.is_file() and "dtype" in (before := read_json(began)):
        config["dtype"] = before["dtype"]
    write_json(model / "config.json", config)
