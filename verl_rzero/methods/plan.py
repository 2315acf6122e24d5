"""The stages of a run, which of them share a process, and whether done ones still hold."""

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

from verl_rzero.base.errors import UserError
from verl_rzero.data import run_dir
from verl_rzero.data.left_files import differing
from verl_rzero.methods.descriptions import METHODS
from verl_rzero.methods.kinds import Kind, Method, Stage
from verl_rzero.methods.policies import leaves_engines, trains
from verl_rzero.settings import Settings

ALL_DEPENDS = tuple(
    sorted({"algorithm", *(name for method in METHODS.values() for kind in method.kinds for name in kind.depends)})
)
"""Every setting that some stage depends on."""


def method(settings: Settings) -> Method:
    """What the run's `algorithm` names."""
    return METHODS[settings.algorithm]


def plan(settings: Settings) -> list[Stage]:
    """The stages in the order in which they are done: a pure function of the settings."""
    return method(settings).stages(settings)


def to_do(stages: list[Stage], run: Path) -> list[Stage]:
    """Those that are not done yet."""
    return [stage for stage in stages if not run_dir.is_done(stage.directory(run))]


def kind(settings: Settings, name: str) -> Kind:
    """The run's kind of stages of this name."""
    return next(each for each in method(settings).kinds if each.name == name)


def in_one_process(stages: list[Stage], settings: Settings) -> list[list[Stage]]:
    """The stages in groups that share a process, so that engines which training leaves behind are used again."""
    groups: list[list[Stage]] = []
    for stage in stages:
        if groups and _can_follow(stage, groups[-1], settings):
            groups[-1].append(stage)
        else:
            groups.append([stage])
    return groups


def from_each_training(group: list[Stage]) -> list[list[Stage]]:
    """The stages in parts, each of which begins with one that trains, but for the first: of what a training writes,
    most is gone when it is done.
    """
    parts: list[list[Stage]] = [[]]
    for stage in group:
        if stage.kind.trains and parts[-1]:
            parts.append([])
        parts[-1].append(stage)
    return parts


def _can_follow(stage: Stage, group: list[Stage], settings: Settings) -> bool:
    """Whether the last of the group that trains leaves engines that `stage` uses."""
    last = next((each for each in reversed(group) if each.kind.trains), None)
    return (
        last is not None
        and stage.round == last.round
        and stage.kind.name in last.kind.serves
        and trains(settings, last.kind.name, last.round)
        and leaves_engines(settings, last.kind.name)
    )


def settings_hash(stage: Stage, settings: Settings) -> str:
    """Hash of the settings that the stage depends on."""
    return run_dir.settings_hash(run_dir.chosen_settings(settings, stage.kind.depends))


def check_done(stages: list[Stage], settings: Settings, run: Path) -> None:
    """Raises UserError where a done stage was made with other settings, from an input that is no longer there, or where
    its files are not those that it left.
    """
    changed: dict[str, dict[str, str]] = {}
    for stage in stages:
        if not run_dir.is_done(stage.directory(run)):
            continue
        for needed in stage.inputs:
            if not run_dir.is_done(run / needed):
                raise UserError(
                    f"{run}: {needed} is not done, but {stage.id}, which was made from it, is. "
                    f"Put {needed} back, or delete {stage.id} and the stages after it to have them made again."
                )
        try:
            made = run_dir.manifest(stage.directory(run))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            changed[stage.id] = {run_dir.MANIFEST: f"can't be read ({error})"}
            continue
        if made.settings_hash != settings_hash(stage, settings):
            raise UserError(
                f"{run}: {stage.id} was made with other settings than {run_dir.SETTINGS} now says. "
                "Put the file back as it was, or write run_dir=<a new directory>."
            )
        if found := differing(stage.directory(run), made.files):
            changed[stage.id] = found
    if changed:
        raise _not_as_left(stages, changed, run)


def made_from(stages: list[Stage], ids: Collection[str]) -> list[str]:
    """These stages and all that were made from them, directly or through others, in the order of the plan."""
    found = {*ids}
    for stage in stages:
        if found & {*stage.inputs}:
            found.add(stage.id)
    return [stage.id for stage in stages if stage.id in found]


def _not_as_left(stages: list[Stage], changed: Mapping[str, Mapping[str, str]], run: Path) -> UserError:
    lines = [f"  {stage}/{name}: {how}" for stage, files in changed.items() for name, how in files.items()]
    again = [stage for stage in made_from(stages, changed) if (run / stage).is_dir()]
    return UserError(
        f"run_dir={run}: files of done stages are not as these left them:\n" + "\n".join(lines) + "\n"
        "Nothing was started, and nothing was changed; no other file differs from what was recorded of it. Put these "
        "back from a copy; or delete their stages and what was made from them, and the same command makes them again:\n"
        f"  cd {shlex.quote(str(run))} && rm -r {' '.join(again)}"
    )
