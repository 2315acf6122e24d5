"""What is shown of a stage that runs."""

import io

from verl_rzero.base import display
from verl_rzero.base.progress import Position, Progress, read


def at(done: int, time: float, total: int = 10) -> Position:
    return Position(done, total, "step", "", time, 0.0)


def test_the_time_left_follows_the_pace_since_the_first_word():
    # 2 steps in 20 s, 8 to go: 80 s, of which 5 have passed since the last word.
    assert display.seconds_left(at(0, 100.0), at(2, 120.0), now=125.0) == 75.0


def test_no_time_left_before_there_is_a_pace():
    assert display.seconds_left(at(0, 100.0), at(0, 130.0), now=140.0) is None


def test_the_time_left_never_falls_below_nothing():
    assert display.seconds_left(at(0, 100.0), at(9, 109.0), now=300.0) == 0.0


def test_clock():
    assert [display.clock(s) for s in (5.9, 65, 3665)] == ["0:05", "1:05", "1:01:05"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_renews_itself():
    stream = Terminal()
    with display.StageLine("round_1/solver", stream) as line:
        line.watch(None)
        line.watch(Position(5, 10, "step", "reward 0.5", 0.0, 0.0))
    starting, half, end = stream.getvalue().split("\r\x1b[K")[1:]
    assert starting.startswith("round_1/solver  starting")
    assert half.startswith("round_1/solver  [##########..........]  5/10 step  reward 0.5")
    assert end == "round_1/solver: done in 0:00\n"


def test_a_log_has_few_plain_lines(monkeypatch):
    stream = io.StringIO()
    with display.StageLine("round_1/solver", stream) as line:
        for _ in range(100):
            line.watch(at(5, 0.0))
        monkeypatch.setattr(display, "LOG_EVERY_S", 0.0)
        line.watch(at(6, 0.0))
    lines = [text.split("] ", 1)[1] for text in stream.getvalue().splitlines()]
    assert lines[0] == "round_1/solver: started"
    assert lines[1].startswith("round_1/solver  6/10 step")
    assert lines[2] == "round_1/solver: done in 0:00"
    assert len(lines) == 3


def test_the_tail_of_a_log(tmp_path):
    log = tmp_path / "stage.log"
    log.write_bytes(b"\xff\n" + b"".join(b"line %d\n" % n for n in range(100)))
    assert display.tail(log).splitlines() == [f"line {n}" for n in range(75, 100)]


def test_progress_is_written_at_the_start_and_the_end_and_seldom_between(tmp_path):
    progress = Progress(tmp_path, 100, "question")
    first = read(tmp_path)
    assert (first.done, first.total, first.unit) == (0, 100, "question")
    for done in range(1, 100):
        progress.update(done)
    assert read(tmp_path).done == 0
    progress.update(100, "all asked")
    assert (read(tmp_path).done, read(tmp_path).note) == (100, "all asked")
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


def test_before_the_first_word_there_is_no_progress(tmp_path):
    assert read(tmp_path) is None
