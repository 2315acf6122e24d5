"""What is looked at after every stage: its report, its alarms, whether to go on."""

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verl_rzero.base.errors import UserError
from verl_rzero.methods.kinds import Stage
from verl_rzero.settings import Settings
from verl_rzero.watch import choice, monitors, report, tracking
from verl_rzero.watch.web import page

PAGE_ERROR = "report_error.txt"
"""In a run whose page could not be drawn when it was last tried: the traceback."""


def look_at(stage: Stage, settings: Settings, run: Path, tracker: tracking.Tracker) -> None:
    """Report what a stage that is done has found, and the alarms that it raises."""
    content = report.write(run, settings)
    draw_page(run)
    tracker.finish(stage, content)
    alarms = [alarm for alarm in content["alarms"] if alarm["stage"] == stage.id]
    for alarm in alarms:
        print(monitors.in_words(alarm), flush=True)
    stop_on_alarm(alarms, settings)


def draw_page(run: Path) -> None:
    """Make report.html anew; an error says so in one line, leaves its traceback in the run, and goes no further."""
    try:
        page.write(run)
    except Exception as error:
        # Nowhere else is every error caught. What the page stumbles over, a text that nobody thought of, costs no
        # result: all are on disk. GPUs shall not stand idle for a drawing.
        (run / PAGE_ERROR).write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
        print(f"{page.PAGE} could not be drawn, and the run goes on: {error!r:.200} ({run / PAGE_ERROR})", flush=True)
    else:
        (run / PAGE_ERROR).unlink(missing_ok=True)


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
