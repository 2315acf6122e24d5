"""A run from its base model to its last round: `python -m verl_rzero.coevolve [key=value ...]`."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import DictConfig

from verl_rzero.base import display
from verl_rzero.base import processes as run_processes
from verl_rzero.base.command_line import exit_code
from verl_rzero.base.display import say
from verl_rzero.base.errors import StageFailed
from verl_rzero.base.files import read_json
from verl_rzero.data import anchors, given, outputs, run_dir
from verl_rzero.engine import cluster, code_checks, environment, jobs, processes, warm
from verl_rzero.evaluation import judge
from verl_rzero.evaluation import load as evaluation_data
from verl_rzero.methods import plan
from verl_rzero.methods.kinds import Stage
from verl_rzero.run import disk_space, model_fits, oversight
from verl_rzero.run.help_text import help_text
from verl_rzero.settings import Settings, compose, load, schema
from verl_rzero.watch import report, tracking
from verl_rzero.watch.web import page as web_page

Command = Callable[[Path, Sequence[str], Mapping[str, str]], list[str]]
"""The command that does stages, of the run's directory, their ids and the variables added to its environment."""

WARM_UP_S = 120.0

USER_ERROR = 2
"""Exit code of a stage that ended with an error which says what to put right."""


def coevolve(settings: Settings, command: Command = processes.stage_command) -> None:
    """Do every stage that isn't done yet. Raises UserError, StageFailed, KeyboardInterrupt."""
    run = Path(settings.run_dir).expanduser().resolve()
    stages = plan.plan(settings)
    run_dir.check(run, settings, plan.ALL_DEPENDS)
    plan.check_done(stages, settings, run)
    cluster.check_cluster(settings)
    anchors.check(settings.anchors)
    given.check(settings)
    outputs.truth_of(settings)
    tracking.check(settings)
    configs = check_jobs(settings, run)
    model_fits.check(settings, configs)
    check_benchmarks(settings)
    check_programs(settings)
    room = disk_space.room(settings, run, configs)
    for group in plan.in_one_process(plan.to_do(stages, run), settings)[:1]:
        room.check(plan.from_each_training(group)[0])
    with run_dir.locked(run), environment.temporary_files(settings):
        run_dir.prepare(run, settings, plan.ALL_DEPENDS)
        run_processes.end_processes(run)
        nodes = cluster.check_nodes(settings, run)
        to_do = plan.to_do(stages, run)
        done = [stage for stage in stages if stage not in to_do]
        for stage in done:
            say(f"{stage.id}: done before")
        content = report.write(run, settings)
        if to_do:
            say(room.of_all(to_do))
            oversight.stop_on_alarm(content["alarms"], settings)
        with (
            tracking.tracker(run, settings) as tracker,
            warm_server(settings, run) if command is processes.stage_command else nullcontext() as server,
        ):
            tracker.catch_up(done, content)
            work = partial(do, settings=settings, run=run, command=command, server=server, tracker=tracker, room=room)
            for group in plan.in_one_process(to_do, settings):
                if group[0].kind == plan.method(settings).opens_a_round and oversight.stops_early(run, settings):
                    break
                in_attempts(group, room, work, partial(cluster.check_nodes, settings, run, nodes))
        content = report.write(run, settings)
        oversight.draw_page(run)
        say_results(run, content)


@contextmanager
def warm_server(settings: Settings, run: Path) -> Iterator[warm.Server | None]:
    """A server that forks the run's processes with everything imported; none on GPUs, where importing vLLM looks for
    devices and a fork could inherit a CUDA driver that no longer works, and none in a cluster.
    """
    if settings.hardware.device != "cpu" or environment.joins_a_cluster():
        yield None
        return
    with TemporaryDirectory(prefix="rzero-") as directory:
        env = {**os.environ, **environment.variables(settings), run_processes.RUN_VARIABLE: str(run)}
        server = warm.Server(Path(directory), env)
        try:
            yield server
        finally:
            server.close()


def in_attempts(
    group: list[Stage],
    room: disk_space.Room,
    work: Callable[[list[Stage]], None],
    before_another: Callable[[], object] = lambda: None,
) -> None:
    """Stages that share a process, each as often as it may be begun: where the process dies or stalls, those that
    aren't done go on in a new one, or each in its own where the engines that they shared are gone, after a look at
    whether they can.

    Raises:
        StageFailed: of a stage's last attempt, or of one that an error has ended which says what to put right.
        UserError: there is no room on the disk, the machines are no longer there, or an alarm shall stop the run.
    """
    attempts, failures = room.settings.attempts, Counter[str]()
    while left := plan.to_do(group, room.run):
        try:
            with room.explained(left):
                for those in plan.in_one_process(left, room.settings):
                    work(those)
        except StageFailed as failed:
            stage = plan.to_do(left, room.run)[0]
            failures[stage.id] += 1
            attempt = failures[stage.id]
            if failed.code == USER_ERROR or attempt == attempts:
                raise
            say(f"{failed} ({failed.log}). That was attempt {attempt} of {attempts}; it goes on from what is there.")
            before_another()


def do(
    group: list[Stage],
    settings: Settings,
    run: Path,
    command: Command,
    server: warm.Server | None,
    tracker: tracking.Tracker,
    room: disk_space.Room,
) -> None:
    """Stages that share a process, each with its manifest when it is done. Raises StageFailed, and UserError when an
    alarm shall stop the run or there is no room on the disk, which is looked at before each training.
    """
    parts = plan.from_each_training(group)
    room.check(parts.pop(0))
    for stage in group:
        if (stage.directory(run) / run_dir.MANIFEST).exists():
            say(f"{stage.id}: it has a {run_dir.MANIFEST} but no {run_dir.DONE}, and so is made again")
        run_dir.start_stage(stage.directory(run), resumes=settings.checkpoint_every > 0)
    first = group[0]
    variables = server.variables(WARM_UP_S if first.kind.uses_engine else 0.0) if server else {}
    keep = frozenset({server.process.pid} if server else ())
    words = command(run, [stage.id for stage in group], variables)
    with processes.running(words, run, first.directory(run) / run_dir.LOG, variables, keep) as process:
        for stage in group:
            here = stage.directory(run)
            if parts and stage is parts[0][0]:
                room.check(parts.pop(0))
            started, clock = run_dir.now(), time.monotonic()
            tracker.start(stage)
            with display.StageLine(stage.id) as line:
                watch = tracker.watching(stage, line.watch)
                last = stage is group[-1]
                processes.follow(process, stage.id, here, watch, last, settings.stalled_after_s)
                run_dir.finish_stage(here, manifest(stage, settings, here, started, time.monotonic() - clock))
            oversight.look_at(stage, settings, run, tracker)


def manifest(stage: Stage, settings: Settings, here: Path, started: str, seconds: float) -> run_dir.Manifest:
    """How the stage came about; its counts are the single numbers and groups of its result, without the series."""
    depends = run_dir.chosen_settings(settings, stage.kind.depends)
    result = read_json(here / run_dir.RESULT)
    return run_dir.Manifest(
        stage=stage.id,
        settings_hash=run_dir.settings_hash(depends),
        settings=depends,
        inputs=list(stage.inputs),
        seed=settings.seed,
        counts={key: value for key, value in result.items() if not isinstance(value, list)},
        code_version=run_dir.code_version(),
        packages=run_dir.package_versions(),
        started=started,
        finished=run_dir.now(),
        seconds=round(seconds, 3),
        files=run_dir.left_by(here),
    )


def dry_run(settings: Settings) -> None:
    """Print the plan and check what can be checked without starting anything."""
    run = Path(settings.run_dir).expanduser().resolve()
    stages = plan.plan(settings)
    run_dir.check(run, settings, plan.ALL_DEPENDS)
    plan.check_done(stages, settings, run)
    anchors.check(settings.anchors)
    given.check(settings)
    outputs.truth_of(settings)
    say(f"Plan of {run}:")
    for stage in stages:
        done = run_dir.is_done(stage.directory(run))
        say(f"  {'done ' if done else 'to do'}  {stage.id:<20}  {stage.size}")
    configs = check_jobs(settings, run)
    for role, config in configs.items():
        count = len(schema.flat(compose.plain(config)))
        say(f"The {role}'s job: {count} keys of verl's configuration, every one known to verl.")
    for line in model_fits.check(settings, configs):
        say(line)
    say(disk_space.room(settings, run, configs).of_all(plan.to_do(stages, run)))
    check_benchmarks(settings)
    check_programs(settings)
    say("Nothing was started.")


def check_benchmarks(settings: Settings) -> None:
    """Load every benchmark that is not made with the base model, and look for the judge's key.

    Raises UserError for what isn't there.
    """
    judge.api_key(settings.evaluation.judge)
    benchmarks = settings.evaluation.benchmarks
    asked = {name: asdict(each) for name, each in benchmarks.items() if not settings.evaluation.made_with_model(name)}
    evaluation_data.check(asked)


def check_programs(settings: Settings) -> None:
    """Start once what runs programs, where the method does; raises UserError where that can't be done as asked."""
    if settings.algorithm == "absolute_zero":
        code_checks.runner(settings.execution).close()


def check_jobs(settings: Settings, run: Path) -> dict[str, DictConfig]:
    """Each role's whole verl configuration, composed against verl's own tree.

    Raises UserError for a key below `*.verl` that verl doesn't have.
    """
    here, base, shape = run / "round_1", run / "base/model/model", model_fits.shape(settings)
    return {
        kind.name: jobs.verl_config(
            settings, kind.name, model=base, train_file="none", stage_dir=here / kind.name, solver=base, shape=shape
        )
        for kind in plan.method(settings).kinds
        if kind.trains
    }


def say_results(run: Path, content: dict[str, Any]) -> None:
    """The table and where the results lie."""
    say("")
    say(report.table(content))
    say("")
    if content["settings"]["anchors"]["path"] is not None:
        say("This run used human examples (anchors): it is not zero-data.")
    last = max((part["round"] for part in content["rounds"] if part["solver"]), default=0)
    say(f"report  {run / web_page.PAGE} and {run_dir.REPORT}")
    say(f"Solver  {outputs.solver_of(run, last)}")
    if best := content["best_round"]:
        model = outputs.solver_of(run, best["round"])
        say(f"best    {model} (round {best['round']} by {best['benchmark']}, used for choosing)")
    if content["alarms"]:
        say(f"alarms  {len(content['alarms'])}, in {run / report.ALARMS}")


def main(command: Command = processes.stage_command) -> int:
    """The command line; returns the exit code: 2 for what the user can put right, 1 for a failure, 130 when stopped."""

    def work(words: Sequence[str]) -> None:
        overrides = [word for word in words if word not in ("-h", "--help")]
        overrides, about_hardware = cluster.with_hardware(overrides)
        settings = load(overrides)
        if {"-h", "--help"} & {*words}:
            say(help_text(settings))
            return
        say(about_hardware)
        dry_run(settings) if settings.dry_run else coevolve(settings, command)

    return exit_code(work, usage=None, again="continues from here")
