"""The engines of a process: what training leaves running is used again, by whoever was handed it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.engine import engines, guards
from verl_rzero.engine.engines import Engine, Engines

STARTED = engines.started
NEW = Engine(["new"], None)


@pytest.fixture(autouse=True)
def started(monkeypatch) -> list[str]:
    """The models whose engines were started anew."""
    models: list[str] = []

    async def start(asked: settings.Settings, model: Path | str, stage_dir: Path) -> Engine:
        models.append(str(model))
        return NEW

    monkeypatch.setattr(engines, "started", start)
    return models


def of(ours: Engines, model: Path | str) -> Engine:
    return asyncio.run(ours.of(settings.load([]), model, Path("stage")))


def test_a_kept_engine_is_used_again_and_another_model_gets_its_own(started):
    ours = Engines()
    ours.keep(Path("run/model"), ["kept"], "tokenizer")
    again = of(ours, "run/model")
    assert (again.servers, again.tokenizer, started) == (["kept"], "tokenizer", [])
    assert of(ours, "run/other") is NEW
    assert started == ["run/other"]


def test_what_makes_way_for_kept_engines_is_called_once_before_they_are_asked():
    ours, called = Engines(), []
    ours.keep("challenger", ["first"], None)
    ours.keep("solver", ["second"], None, lambda: called.append(asyncio.run(asyncio.sleep(0, "made way"))))
    assert of(ours, "challenger").servers == ["first"]
    assert called == []
    assert [of(ours, "solver").servers for _ in range(2)] == [["second"]] * 2
    assert called == ["made way"]


def test_a_training_is_ended_once_for_the_next_and_nothing_of_it_is_kept(started):
    ours, ended = Engines(), []
    assert list(ours.take_over()) == []
    ours.leave(lambda: ended.append("ended") or ["server"])
    ours.keep("challenger", ["kept"], None)
    ours.keep("solver", ["kept"], None, lambda: ended.append("made way"))
    assert ended == []
    assert [list(ours.take_over()) for _ in range(2)] == [["server"], []]
    assert ended == ["ended"]
    assert [of(ours, model) for model in ("challenger", "solver")] == [NEW, NEW]
    assert ended == ["ended"]


def test_no_engine_waits_for_gpus_that_kept_ones_have(started):
    ours, on_gpus = Engines(), settings.load(["model=small", "hardware=1gpu"])
    asyncio.run(ours.of(on_gpus, "run/other", Path("stage")))
    ours.keep("run/model", ["kept"], None)
    with pytest.raises(RuntimeError, match="no GPU is free for run/other: engines of run/model have them all"):
        asyncio.run(ours.of(on_gpus, "run/other", Path("stage")))
    assert started == ["run/other"]


def test_what_is_kept_belongs_to_one_owner():
    Engines().keep("run/model", ["kept"], None)
    assert of(Engines(), "run/model") is NEW


def test_an_owner_can_be_made_before_anything_heavy_is_imported():
    program = (
        "import sys\nfrom verl_rzero.engine.engines import Engines\nEngines()\n"
        "assert not {'torch', 'ray', 'vllm', 'verl'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_with_other_packages_no_engine_starts(monkeypatch):
    def check() -> None:
        raise UserError("other packages")

    monkeypatch.setattr(guards, "check", check)
    with pytest.raises(UserError, match="other packages"):
        asyncio.run(STARTED(settings.load([]), "model", Path("stage")))
