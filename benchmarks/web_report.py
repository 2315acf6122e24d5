"""How report.html does with many questions: `python benchmarks/web_report.py [questions] [replies] [characters]`.

Makes a run of one round (20,000 questions, 10 replies to each of 1,500 characters on average), builds its page twice,
the second time with nothing changed, opens it in Chromium and measures.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import made_run  # noqa: E402
from test_web_report import LAUNCH  # noqa: E402

RNG = np.random.default_rng(0)
SYLLABLES = ["ma", "ti", "on", "re", "al", "ver", "con", "qua", "lo", "ne", "ste", "pri", "du", "fac", "tor", "sum"]
WORDS = np.array(["".join(RNG.choice(SYLLABLES, RNG.integers(1, 4))) for _ in range(8_000)])
FREQUENCY = 1 / np.arange(1, len(WORDS) + 1)
FREQUENCY /= FREQUENCY.sum()


def prose(characters: int) -> str:
    """Words with natural frequencies, and a formula after every twelfth."""
    words = RNG.choice(WORDS, characters // 6, p=FREQUENCY).tolist()
    a, b = RNG.integers(2, 999, 2)
    for at in range(12, len(words), 12):
        words[at] = f"$x_{{{at}}} = \\frac{{{a + at}}}{{{b}}}$."
    return " ".join(words)


def question(replies: int, characters: int) -> made_run.Asked:
    text = prose(300)
    answers = [str(n) for n in RNG.integers(0, 4, replies)]
    raws = [f"{prose(int(RNG.integers(characters // 3, characters * 5 // 3)))} \\boxed{{{a}}}" for a in answers]
    return f"Let me think. {prose(400)}<question>{text}</question>\n\n\\boxed{{{answers[0]}}}", text, raws, answers


def build(run: Path) -> float:
    """Seconds of a build in a process of its own, whose peak memory is then among that of the children."""
    code = f"from pathlib import Path; from verl_rzero.watch.web import page; page.write(Path({str(run)!r}))"
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    return time.monotonic() - started


def browser_mb() -> float:
    """Memory of the browser that this process started; what its processes share is counted once."""
    processes = [each for each in psutil.Process().children(recursive=True) if "chrom" in each.name()]
    return sum(each.memory_full_info().pss for each in processes) / 1e6


def main(questions: int = 20_000, replies: int = 10, characters: int = 1_500) -> None:
    """Make a large run, its page, and print what it costs."""
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        made_run.base(run, 0.4, ["rounds=1", f"votes={replies}"])
        made_run.a_round(run, 1, [question(replies, characters) for _ in range(questions)], 0.6)
        made_run.write_report(run)
        votes = (run / "round_1/votes/votes.parquet").stat().st_size
        print(
            f"{questions} questions x {replies} replies of {characters} characters, votes.parquet {votes / 1e6:.0f} MB"
        )
        first = build(run)
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"built in {first:.1f} s with {memory:.0f} MB, again without a change in {build(run):.1f} s")
        print(f"report.html {(run / 'report.html').stat().st_size / 1e6:.1f} MB")
        look(run)


def look(run: Path) -> None:
    with sync_playwright() as playwright, playwright.chromium.launch(**LAUNCH) as browser:
        page = browser.new_page()
        empty = browser_mb()
        clock = time.monotonic()

        def lap() -> float:
            nonlocal clock
            before, clock = clock, time.monotonic()
            return clock - before

        page.goto((run / "report.html").as_uri(), wait_until="commit")
        page.wait_for_selector("h1")
        print(f"story on the screen after {lap():.2f} s")
        page.wait_for_selector("#questions.ready")
        print(f"list of questions after {lap():.2f} s more")
        page.fill("[name=text]", "ma ti boxed")
        print(f"first search {lap():.2f} s")
        page.fill("[name=text]", "con")
        print(f"next search {lap():.2f} s")
        page.select_option("[name=sort]", "half")
        print(f"sorted in {lap():.2f} s")
        page.click("#questions .row")
        page.wait_for_selector("#questions .raw")
        print(f"opened in {lap():.2f} s")
        heap = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
        print(f"script's heap {heap:.0f} MB; browser {browser_mb() - empty:.0f} MB more than with an empty page")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
