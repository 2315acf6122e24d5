"""Mathematical equality: the corpus, hostile answers, and the workers that are killed and replaced."""

import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from fractions import Fraction

import pytest
from answer_corpus import DIFFERENT, SAME, pairs
from hypothesis import example, given, settings
from hypothesis import strategies as st

from verl_rzero.grading import grader as grading
from verl_rzero.grading import process
from verl_rzero.grading.counts import COLUMNS, as_columns, step_metrics
from verl_rzero.grading.grader import Grader, GradingCounts, Tally, normal_form, same_answer
from verl_rzero.grading.notation import clean
from verl_rzero.grading.process import Died, Verdict, Worker

HARD = r"\lfloor 9^{9^{9}}/7 \rfloor"  # all of its 370 million digits are needed


@pytest.fixture(scope="module")
def grader():
    grader = Grader(timeout_s=20.0)
    yield grader
    grader.close()


@pytest.fixture(scope="module")
def impatient():
    grader = Grader(timeout_s=1.0)
    yield grader
    grader.close()


@pytest.fixture
def quick():
    grader = Grader(timeout_s=1.0)
    yield grader
    grader.close()


def no_workers():
    """A grader that fails the test when it asks a worker."""
    grader = Grader()
    grader._take_worker = lambda fresh: pytest.fail("asked a worker")
    return grader


@pytest.mark.parametrize(("a", "b"), pairs(SAME))
def test_equal_answers(grader, a, b):
    assert grader.same(a, b)
    assert grader.same(b, a)


@pytest.mark.parametrize(("a", "b"), pairs(DIFFERENT))
def test_near_misses(grader, a, b):
    assert not grader.same(a, b)
    assert not grader.same(b, a)


def test_the_corpus_met_no_limit(grader):
    """Runs after the corpus: its verdicts are verdicts, not timeouts, and most of them needed no engine."""
    counts = grader.counts()
    assert (counts.timeouts, counts.kills) == (0, 0)
    assert counts.by_worker <= counts.comparisons // 3  # though these are the awkward ones


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("42", "42.0"), ("1,000", "1000"), (r"\frac{1}{2}", "0.5"), (r"50\%", "1/2"), ("A", "(A)"), ("A", "B"),
        ("7", "8"), ("yes", r"\text{No}"), ("(1, 2)", "(1.0,3)"), (r"\{1,2\}", "2, 1"), ("5 cm", "6 cm"), ("x=5", "7"),
        (r"2\frac{1}{2}", "2.4"), ("无解", "5"), (r"\sqrt{2}", r"\sqrt {2}"), ("x + 1", "$x+1$"),
        ("N", "n"), ("x > 3", r"(3, \infty)"), (r"1/2x", r"\frac{x}{2}"),
    ],
)  # fmt: skip
def test_common_cases_never_reach_a_worker(a, b):
    no_workers().same(a, b)


def test_module_level_function():
    assert same_answer(r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}")
    assert not same_answer(r"\sqrt{2}", r"\sqrt{3}")


def test_making_a_grader_starts_nothing(monkeypatch):
    monkeypatch.setattr(process.subprocess, "Popen", lambda *a, **k: pytest.fail("started a process"))
    assert Grader().same("1/2", "0.5")


# Exact numbers against Python's own fractions.

numbers = st.fractions(min_value=-1000, max_value=1000, max_denominator=60)


def written(value):
    sign, top, bottom = "-" if value < 0 else "", abs(value.numerator), value.denominator
    ways = [f"{sign}{top}/{bottom}", rf"{sign}\frac{{{top}}}{{{bottom}}}", rf"\dfrac{{{value.numerator}}}{{{bottom}}}"]
    if bottom == 1:
        ways += [f"{sign}{top}", f"{sign}{top}.0", f"{sign}{top:,}"]
    if 1 < bottom < top:
        ways.append(rf"{sign}{top // bottom}\frac{{{top % bottom}}}{{{bottom}}}")
    if Fraction(repr(float(value))) == value:
        ways.append(repr(float(value)))
    return st.sampled_from(ways)


@given(st.data(), numbers, numbers)
def test_numbers_are_exact_however_they_are_written(data, x, y):
    a, b, other = (data.draw(written(value)) for value in (x, x, y))
    grader = no_workers()
    assert grader.same(a, b)
    assert grader.same(a, other) == (x == y)


polynomials = st.lists(st.integers(-4, 4), min_size=2, max_size=3)


@pytest.mark.parametrize(
    ("product", "value", "other"),
    [
        ("(0)(1)", "0", "1"),
        ("(2)(3)", "6", "5"),
        ("2(3)", "6", "5"),
        (r"2\left(3\right)", "6", "5"),
        ("(-1)(2)(3.5)", "-7", "4.5"),
        ("3(-2)", "-6", "1"),
        ("12 (3)", "36", "15"),
    ],
)
def test_numbers_in_brackets_beside_each_other_are_multiplied(product, value, other):
    assert same_answer(product, value)
    assert not same_answer(product, other)


@pytest.mark.parametrize("text", ["0.1(6)", "f_1(2)", r"\log_2(8)", "1,000(2)"])
def test_other_brackets_behind_digits_stay_what_they_are(text):
    assert "cdot" not in clean(text)


@settings(max_examples=25, deadline=None)
@example([0, 0], [0, 1])
@example([0, 2], [0, 3])
@given(polynomials, polynomials)
def test_products_equal_their_expansions_as_sympy_has_them(p, q):
    import sympy

    x = sympy.Symbol("x")
    f, g = sympy.Poly(p, x).as_expr(), sympy.Poly(q, x).as_expr()
    product, expansion = rf"({sympy.latex(f)})({sympy.latex(g)})", sympy.latex(sympy.expand(f * g))
    assert same_answer(product, expansion)
    assert not same_answer(product, sympy.latex(sympy.expand(f * g) + 1))


# Hostile answers.


@pytest.mark.parametrize(
    "hostile",
    [
        HARD, "9**9**9", r"9^{9^{9}}", "9**9**9**9", r"\binom{10^9}{5 \cdot 10^8}", "(10^9)!",
        "10000000!", "1e999999999", r"\frac{1}{0}", "", " ", "\x00", "5\x00", "\ud800", "x\udfff+1",
        "(" * 1500, "(" * 900 + "1" + ")" * 900, "{" * 1500, "[" * 700 + "]" * 700, r"\frac{" * 300,
        r"\sqrt{" * 300 + "2" + "}" * 300, "-" * 1999,
        "9" * 1999, "1" * 1000 + "/" + "7" * 990, "x" * 1_000_000, "1" * 1_000_000, r"\boxed{" * 200_000, "\\" * 1999,
        "x^" * 900 + "x", ",".join("1" * 900), ",".join(["x+1"] * 60), "٣", "１" * 500, "\u202e5", r"\text{" * 100,
        '"' * 999, "=" * 50, r"\pm" * 20, r"\begin{pmatrix}" * 20, "import os", "__import__('os').abort()", "lambda: 0",
    ],
    ids=range(42),
)  # fmt: skip
def test_hostile_answers_are_answered_within_the_limit(impatient, hostile):
    impatient.same("|x+1|", "|x+2|")  # the start of a worker is not what is measured
    start = time.monotonic()
    assert impatient.same(hostile, hostile)
    assert not impatient.same(hostile, r"17\sqrt{5}")
    assert not impatient.same("17", hostile)
    assert time.monotonic() - start < 30.0  # two questions of a second each, and slow starts on a busy machine
    assert impatient.same(r"\log_2 8", "3")  # a neighbour pays nothing


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(codec=None)))
def test_any_text_has_a_normal_form(text):
    assert normal_form(text) == normal_form(text)


pieces = [
    r"\frac", "{", "}", "(", ")", "[", "]", r"\text", r"\sqrt", "^", "_", "1", "23", ".", ",", r"\left", r"\right",
    r"\{", r"\}", "x", "abc", "=", r"\pm", "&", r"\\", '"', "$", r"\%", "/", "-", "cm", "and", "|", "<", "1,000", " ",
    "½", "²", "北", "\x00",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(pieces), max_size=60).map("".join))
def test_broken_latex_has_a_normal_form_quickly(text):
    gc.disable()  # a collection in this large process takes as long as the bound
    try:
        start = time.thread_time()
        normal_form(text)
        assert time.thread_time() - start < 0.5
    finally:
        gc.enable()


def test_longer_answers_than_the_bound_are_compared_as_they_stand():
    long = "1+" * 1001 + "1"
    assert same_answer(long, long + " ")
    assert not same_answer(long, "1002")


# The workers.


def pid_of_worker(grader):
    (worker,) = grader._idle
    return worker._process.pid


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid, within_s):
    end = time.monotonic() + within_s
    while exists(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not exists(pid)


def processor_seconds_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_a_stuck_worker_is_killed_counted_and_replaced(quick):
    quick.same("|x+1|", "|x+2|")
    first = pid_of_worker(quick)
    before_s = processor_seconds_of_children()
    assert not quick.same(HARD, "5")
    assert processor_seconds_of_children() - before_s < 6.0  # one second at the limit, after the seconds of a start
    assert quick.counts() == GradingCounts(comparisons=2, by_worker=2, timeouts=1, killed_time=1)
    assert not exists(first)  # dead and reaped
    assert quick.same("|x+1|", "|1+x|")
    assert pid_of_worker(quick) != first


def test_verdicts_are_remembered_in_both_directions(quick):
    assert quick.same(r"\log_2 8", "3")
    assert quick.same("3", r"\log_2 8")
    assert quick.counts() == GradingCounts(comparisons=2, by_cache=1, by_worker=1)


def test_a_limit_is_no_verdict_and_never_remembered(quick):
    assert not quick.same(HARD, "5")
    assert not quick.same("5", HARD)
    assert quick.counts() == GradingCounts(comparisons=2, by_worker=2, timeouts=2, killed_time=2)


@contextmanager
def asking(grader, a, b):
    """A question is put to a stopped worker; yields (its pid, the verdict when it comes)."""
    verdicts = []
    pid = pid_of_worker(grader)
    os.kill(pid, signal.SIGSTOP)
    thread = threading.Thread(target=lambda: verdicts.append(grader.same(a, b)))
    thread.start()
    while grader._idle:
        time.sleep(0.01)
    yield pid, verdicts
    thread.join()


def test_a_worker_that_waits_for_the_machine_has_time_left(quick):
    quick.same("|x+1|", "|x+2|")
    with asking(quick, r"\log_2 8", "3") as (pid, verdicts):
        time.sleep(2.5)  # longer than the limit of one second, in which it may not run
        os.kill(pid, signal.SIGCONT)
    assert verdicts == [True]
    assert quick.counts() == GradingCounts(comparisons=2, by_worker=2)


def test_a_worker_that_never_goes_on_is_killed_by_the_clock(quick, monkeypatch):
    quick.same("|x+1|", "|x+2|")
    with monkeypatch.context() as patch:
        patch.setattr(grading, "WALL_PER_CPU", 1.0)
        with asking(quick, r"\log_2 8", "3") as (_, verdicts):
            pass
    assert verdicts == [False]
    assert quick.counts() == GradingCounts(comparisons=2, by_worker=2, timeouts=1, killed_time=1)
    assert quick.same(r"\log_2 8", "3")


def test_earlier_verdicts_cost_what_they_cost_then(quick):
    """The same answer meets the limit or doesn't, whatever was asked before."""
    quick._verdicts["|1+x|", "|x+1|"] = Verdict(True, cpu_s=1.5)
    assert not quick.same("(|x+1|, |x+2|)", "(|1+x|, |2+x|)")
    assert quick.counts() == GradingCounts(comparisons=1, by_cache=1, timeouts=1)  # nobody was asked or killed
    assert quick.same("|x+1|", "|1+x|")


def test_what_the_engine_cannot_read_is_counted_each_time(quick):
    assert not quick.same("+", "-")  # its parser raises
    assert not quick.same("-", "+")
    assert not quick.same("|x+1|", "|x+2|")
    assert quick.counts() == GradingCounts(comparisons=3, by_cache=1, by_worker=2, errors=2)


def test_what_the_engine_cannot_compare_is_counted(tmp_path, monkeypatch):
    engine = "def verify(*_, **__):\n    raise TypeError('not comparable')\n"
    (tmp_path / "math_verify").mkdir()
    (tmp_path / "math_verify/__init__.py").write_text(engine)
    (tmp_path / "math_verify/grader.py").write_text("should_treat_as_complex = lambda latex: False\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    grader = Grader()
    assert not grader.same("|x+1|", "|1+x|")
    grader.close()
    assert grader.counts() == GradingCounts(comparisons=1, by_worker=1, errors=1)


def test_every_comparison_is_counted_where_it_was_decided(quick):
    for a, b in [("7", "7"), ("7", "7.0"), ("7", "8"), ("|x+1|", "|1+x|"), ("|x+1|", "|1+x|")]:
        quick.same(a, b)
    # identical, one number, two numbers; a worker; its verdict again
    assert quick.counts() == GradingCounts(comparisons=5, by_notation=3, by_cache=1, by_worker=1)
    before = quick.counts()
    quick.same("7", "8")
    assert before.comparisons == 5  # a snapshot stays what it was


def test_a_comparison_of_many_parts_is_one_and_counts_as_its_dearest(quick):
    quick.same("|x+1|", "|1+x|")
    quick.same("(7, |x+1|, |x+2|)", "(7.0, |1+x|, |2+x|)")  # notation, cache, worker
    assert quick.counts() == GradingCounts(comparisons=2, by_worker=2)
    quick.same("(7, |x+1|)", "(7.0, |1+x|)")
    assert quick.counts() == GradingCounts(comparisons=3, by_cache=1, by_worker=2)


def test_a_tally_counts_its_own_comparisons_only(quick):
    mine, other = Tally(quick), Tally(quick)
    assert mine.same("|x+1|", "|1+x|")
    assert other.same("|x+1|", "|1+x|")
    assert not other.same("1", "2")
    assert mine.counts == GradingCounts(comparisons=1, by_worker=1)
    assert other.counts == GradingCounts(comparisons=2, by_notation=1, by_cache=1)
    assert quick.counts() == mine.counts + other.counts


def test_threads_lose_no_count():
    grader = no_workers()
    threads = [threading.Thread(target=lambda: [grader.same("1", str(k)) for k in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert grader.counts() == GradingCounts(comparisons=8000, by_notation=8000)


def test_a_step_sums_what_its_rollouts_cost():
    rollouts = [
        GradingCounts(comparisons=4, by_notation=1, by_cache=2, by_worker=1, timeouts=1, killed_time=1),
        GradingCounts(comparisons=5, by_notation=4, by_worker=1, errors=1, killed_memory=1, died=1),
        GradingCounts(),
    ]
    rows = [as_columns(counts) for counts in rollouts]
    # 2 of the 4 comparisons that went beyond notation came from the cache; kills 1 + 2
    assert step_metrics([[row[name] for row in rows] for name in COLUMNS]) == {
        "rzero/grading_timeouts": 1.0, "rzero/grading_kills": 3.0, "rzero/grading_errors": 1.0,
        "rzero/grading_cache_share": 0.5,
    }  # fmt: skip
    assert step_metrics([[0.0]] * 5)["rzero/grading_cache_share"] == 0.0


def test_the_cache_is_bounded():
    grader = Grader(cache_size=2)
    for k in range(4):
        grader.same("|x+1|", f"|x+{k + 2}|")
    assert len(grader._verdicts) == 2
    grader.close()


def test_a_worker_out_of_memory_gives_no_verdict_and_no_error():
    grader = Grader(timeout_s=20.0, memory_mb=1)
    assert not grader.same("2^{2^{26}}", "4^{2^{25}}")  # equal, of 8 MiB each
    # once more by a fresh worker, as what others had left in its memory might have been too much
    assert grader.counts() == GradingCounts(comparisons=1, by_worker=1, killed_memory=2)
    assert not grader._verdicts
    assert grader.same("|x+1|", "|1+x|")
    grader.close()


def test_a_worker_killed_from_outside_is_replaced():
    grader = Grader(timeout_s=60.0)
    assert grader.same("|x+1|", "|1+x|")
    before = pid_of_worker(grader)
    os.kill(before, signal.SIGKILL)
    time.sleep(0.1)
    assert grader.same("|x+2|", "|2+x|")
    assert pid_of_worker(grader) != before
    grader.close()


def test_a_question_whose_worker_died_is_asked_once_more(quick):
    quick.same("|x+1|", "|x+2|")
    with asking(quick, r"\log_2 8", "3") as (pid, verdicts):
        os.kill(pid, signal.SIGKILL)
    assert verdicts == [True]
    assert quick.counts() == GradingCounts(comparisons=2, by_worker=2, died=1)
    assert quick.counts().kills == 1


def test_two_deaths_are_no_verdict_and_not_remembered(quick, monkeypatch):
    def die(*_):
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "ask", die)
        assert not quick.same(r"\log_2 8", "3")
    assert quick.counts() == GradingCounts(comparisons=1, by_worker=1, died=2)
    assert quick.same(r"\log_2 8", "3")


def test_one_call_has_one_limit_whatever_its_number_of_parts(quick):
    parts = [f"{HARD}+{k}" for k in range(8)]
    assert not quick.same(", ".join(parts), ", ".join(f"1+2^{{{part}}}" for part in parts))
    assert quick.counts() == GradingCounts(comparisons=1, by_worker=1, timeouts=1, killed_time=1)


def test_threads_share_a_grader_and_a_stuck_one_holds_up_nobody():
    grader = Grader(timeout_s=3.0, max_workers=2)
    grader.same("|x+1|", "|x+2|")
    verdicts, seconds = {}, {}

    def ask(k):
        start = time.monotonic()
        verdicts[k] = grader.same(HARD, "5") if k == 0 else grader.same(f"|x+{k}|", f"|{k}+x|")
        seconds[k] = time.monotonic() - start

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == {0: False} | dict.fromkeys(range(1, 9), True)
    assert grader.counts() == GradingCounts(comparisons=10, by_worker=10, timeouts=1, killed_time=1)
    grader.close()


def test_closing_ends_the_workers_and_leaves_the_grader_usable(quick):
    quick.same("|x+1|", "|x+2|")
    first = pid_of_worker(quick)
    quick.close()
    assert not exists(first)
    assert quick.same("|x+3|", "|3+x|")


def test_a_forked_child_uses_workers_and_a_lock_of_its_own(quick):
    quick.same("|x+1|", "|x+2|")
    parents = pid_of_worker(quick)
    holding, forked = threading.Event(), threading.Event()

    def hold_the_lock():
        with quick._lock:
            holding.set()
            forked.wait()

    thread = threading.Thread(target=hold_the_lock)
    thread.start()
    holding.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # a child that waits for the parent's lock ends by this
        ok = quick.same("|x+5|", "|5+x|") and pid_of_worker(quick) != parents
        quick.close()
        os._exit(0 if ok else 1)
    forked.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert exists(parents)
    assert quick.same("|x+6|", "|6+x|")


@pytest.mark.parametrize("last_words", ["grader.same('|x+1|', '|x+2|')", f"grader.same(r'{HARD}', '5')"])
def test_workers_end_when_the_parent_is_killed(last_words):
    program = f"""
import threading, time
from verl_rzero.grading import Grader
grader = Grader(timeout_s=3.0)
grader.same('|x+3|', '|x+4|')
print(grader._idle[0]._process.pid, flush=True)
threading.Thread(target=lambda: {last_words}, daemon=True).start()
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    time.sleep(0.5)
    parent.kill()
    parent.communicate()
    assert gone(worker, within_s=60.0)  # at most 3 seconds of processor time


def test_a_missing_engine_is_an_error_and_no_verdict(monkeypatch, tmp_path):
    (tmp_path / "math_verify.py").write_text("raise ImportError('no math_verify here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    grader = Grader()
    with pytest.raises(RuntimeError, match="no math_verify here"):
        grader.same("|x+1|", "|x+2|")
    assert grader.same("1/2", "0.5")
    for _ in range(4):  # the failed start has left no worker marked as busy
        with pytest.raises(RuntimeError):
            grader.same("|x+1|", "|x+2|")


@pytest.mark.parametrize("wrong", [{"timeout_s": 0}, {"memory_mb": 0}, {"max_workers": 0}, {"cache_size": -1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="Grader needs"):
        Grader(**wrong)
