"""An engine awake, asleep, awake again, with the settings of hardware=1gpu: `python -m gpu.sleep PLATFORM RUN HERE`.

RUN is one whose base model is asked. The frozen Solver sleeps at level 1, its weights in the host's memory; the engine
of the model in training at level 2, which throws them away, since a sync brings new ones.
"""

import sys
from pathlib import Path
from typing import Any

from gpu import device, found
from verl_rzero import settings
from verl_rzero.data.outputs import model_of
from verl_rzero.methods.policies import BASE
from verl_rzero.rules.prompts import render, solver_messages

QUESTION = "3+4+5"


def main(platform: str, run: Path, here: Path) -> None:
    from vllm import LLM, SamplingParams

    asked = settings.read(run / "settings.yaml")
    sleeps = platform == "cuda"  # vLLM sleeps on GPUs only
    of_a_card = {"enable_sleep_mode": True, "gpu_memory_utilization": asked.hardware.gpu_memory_utilization}
    of_a_machine = {"kv_cache_memory_bytes": 2**28}  # by itself vLLM wants nearly all of it
    share: dict[str, Any] = of_a_card if sleeps else of_a_machine
    engine = LLM(str(model_of(run / BASE)), enforce_eager=True, max_model_len=256, **share)
    prompt: Any = {"prompt_token_ids": render(engine.get_tokenizer(), solver_messages(asked.prompts, QUESTION))}
    numbers: dict[str, Any] = {"answers": []}

    def look(name: str, answer: bool) -> None:
        if answer:
            (reply,) = engine.generate([prompt], SamplingParams(temperature=0, max_tokens=32), use_tqdm=False)
            numbers["answers"].append(reply.outputs[0].text)
        numbers[name] = device.used(platform, here / "run")
        found.write(here, found.Found(numbers))

    look("awake", answer=True)
    if sleeps:
        engine.sleep(level=1)
        look("asleep_1", answer=False)
        engine.wake_up()
    look("awake_again", answer=True)
    if sleeps:
        engine.sleep(level=2)
        look("asleep_2", answer=False)
    parts = [f"{name} {size / 2**30:.1f} GiB" for name, size in numbers.items() if name != "answers"]
    first, second = numbers["answers"]
    wrong = "" if first == second else f"its greedy answer was {first!r} before and {second!r} after"
    if sleeps and numbers["asleep_1"] > numbers["awake"] / 2:
        wrong = wrong or "asleep it keeps more than half of the memory"
    said = ", ".join(parts) if sleeps else f"{parts[0]}; vLLM sleeps on GPUs only"
    found.write(here, found.Found(numbers, said, wrong))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
