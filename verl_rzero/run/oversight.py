"""What is looked at after every stage: its report, its alarms, whether to go on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verl_rzero.base.errors import UserError
from verl_rzero.methods.kinds import Stage
from verl_rzero.settings import Settings
from verl_rzero.watch import choice, monitors, report, tracking
from verl_rzero.watch.web import page


def look_at(stage: Stage, settings: Settings, run: Path, tracker: tracking.Tracker) -> None:
    """Report what a stage that is done has found, and the alarms that it raises."""
    content = report.write(run, settings)
    page.write(run)
    tracker.finish(stage, content)
    alarms = [alarm for alarm in content["alarms"] if alarm["stage"] == stage.id]
    for alarm in alarms:
        print(monitors.in_words(alarm), flush=True)
    stop_on_alarm(alarms, settings)


def stop_on_alarm(alarms: Sequence[Mapping[str, Any]], settings: Settings) -> None:
    """Raises UserError where an alarm shall stop the run."""
    if alarms and settings.monitors.on_alarm == "stop":
        names = ", ".join(f"{alarm['stage']} {alarm['name']}" for alarm in alarms)
        raise UserError(
            f"monitors.on_alarm=stop, and there are alarms: {names} ({report.ALARMS} has them all). To go on all the "
            "same, write monitors.on_alarm=warn, or another threshold below monitors; what is done stays done."
        )


def stops_early(run: Path, settings: Settings) -> bool:
    """Whether the benchmark that chooses has not improved for `monitors.early_stop_rounds`; if so, says it."""
    patience, content = settings.monitors.early_stop_rounds, report.build(run, settings)
    without = choice.rounds_without_improvement(content)
    if patience is None or without < patience:
        return False
    print(f"Early stop: {settings.evaluation.choose_by} has not improved for {without} rounds.", flush=True)
    return True
