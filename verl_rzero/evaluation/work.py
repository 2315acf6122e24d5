"""Has a model answer benchmarks: `python -m verl_rzero.evaluation.work <directory>`. `store.ask_missing` starts it."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.base.files import write_json
from verl_rzero.base.progress import Progress
from verl_rzero.data import run_dir
from verl_rzero.data.parts import Parts
from verl_rzero.data.records import Answered
from verl_rzero.engine import environment
from verl_rzero.evaluation import store
from verl_rzero.grading.grader import Grader, Tally
from verl_rzero.settings import Settings

if TYPE_CHECKING:
    from verl_rzero.engine.engines import Engine


Start = Callable[[Settings, str, Path], Awaitable["Engine"]]


async def started(asked: Settings, model: str, here: Path) -> "Engine":
    """Engines of the model on all devices."""
    from verl_rzero.engine import engines

    return await engines.started(asked, model, here)


async def work(here: Path, start: Start = started) -> None:
    """Fill every place in turn, some questions at a time, each lot kept as soon as it is answered."""
    from verl_rzero.evaluation import run

    asked = settings.read(here / run_dir.SETTINGS)
    model, places = store.to_do(here)
    benchmarks = [place.benchmark() for place in places]
    engine = await start(asked, model, here)
    progress = Progress(here, sum(run.answers_to_give(asked, each) for each in benchmarks), "answer")
    done = 0
    tally = Tally(Grader(asked.grading.timeout_s))
    for place, each in zip(places, benchmarks, strict=True):
        parts = Parts(place.dir, Answered, here.name)
        rows = await run.answered_rows(asked, engine, each, run.ProgressPart(progress, done), tally, parts)
        done += run.answers_to_give(asked, each)
        store.finish(place, rows)


def main(directory: str) -> int:
    here = Path(directory)
    os.environ |= environment.variables(settings.read(here / run_dir.SETTINGS)) | os.environ
    try:
        asyncio.run(work(here))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_json(here / run_dir.RESULT, {})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
