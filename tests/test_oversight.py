"""What is done after every stage, and what of it can never stop a run."""

import json

import made_run
import pytest

from verl_rzero.run import oversight
from verl_rzero.watch.web import page


@pytest.fixture
def run(tmp_path):
    made_run.base(tmp_path, 0.4, ["rounds=1"])
    made_run.write_report(tmp_path)
    return tmp_path


def test_a_page_that_cannot_be_drawn_is_said_in_one_line_and_stops_nothing(run, monkeypatch, capsys):
    def stumble(run):
        raise ValueError("a text\nthat nobody \ud800 thought of " + 300 * "x")

    monkeypatch.setattr(page, "write", stumble)
    oversight.draw_page(run)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("report.html could not be drawn, and the run goes on: ValueError(")
    assert line.endswith(f"({run}/report_error.txt)")
    assert len(line) < 300 + len(str(run))
    text = (run / "report_error.txt").read_text()
    assert "in stumble" in text
    assert "ValueError: a text" in text


def test_a_page_that_can_be_drawn_again_takes_the_error_away(run):
    report = (run / "report.json").read_text()
    (run / "report.json").write_text(json.dumps({"rounds": "none"}))
    oversight.draw_page(run)
    assert "Traceback" in (run / "report_error.txt").read_text()
    (run / "report.json").write_text(report)
    oversight.draw_page(run)
    assert not (run / "report_error.txt").exists()
    assert (run / page.PAGE).is_file()


def test_stopping_a_run_is_no_error_of_the_page(run, monkeypatch):
    def stop(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(page, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        oversight.draw_page(run)
