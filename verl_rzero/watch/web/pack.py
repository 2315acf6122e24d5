"""The questions of a round as compressed blocks of a page.

A page with 20,000 questions and ten replies to each can't hold them as text: each round has an index block, with what
the list shows, sorts and filters by, and blocks of `QUESTIONS_IN_BLOCK` questions with all texts, which the browser
unpacks when one of them is opened. A block is JSON, gzip, base64, in a <script> that is not run.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl_rzero.base.files import write_atomically
from verl_rzero.data import run_dir
from verl_rzero.grading.grader import same_answer
from verl_rzero.watch.reported import replies_to_a_question
from verl_rzero.watch.web.decisions import DECISIONS, decisions
from verl_rzero.watch.web.rows import batches
from verl_rzero.watch.web.text import clean, cut

QUESTIONS_IN_BLOCK = 64
INDEX_CHARS = 400  # of a question in the list, where it is also searched
TEXT_CHARS = 20_000  # of a question and of a Challenger's whole text
ANSWER_CHARS = 400
REPLY_CHARS = (300, 4_000)  # a reply is never cut shorter, never shown longer
ROUND_CHARS = 40_000_000  # of all replies of a round together
QUESTIONS, VOTES = "questions/questions.parquet", "votes/votes.parquet"
CACHE = ".page"
"""Below the run: each round's blocks as they were last packed. Packing takes 0.6 s for 1,000 questions, and is done for
all rounds after every stage."""

_FORMAT = 2
"""Raised whenever what the blocks hold changes, so that those in a cache are packed anew."""


@dataclass(frozen=True)
class Packed:
    """A round's blocks as lines of HTML, the index first."""

    round: int
    lines: list[str]


def packed_rounds(run: Path, report: dict[str, Any], reply_chars: int | None = None) -> list[Packed]:
    """The rounds whose questions are there, from the cache where their files haven't changed.

    A file of a done stage may be gone, to save space: then what it held is left out.
    """
    rounds = []
    for part in report["rounds"]:
        number, here = part["round"], run / f"round_{part['round']}"
        if not _is_there(here / QUESTIONS):
            continue
        key, kept = _key(here, reply_chars), run / CACHE / here.name
        lines = _kept(kept, key)
        if lines is None:
            lines = list(_lines(number, _rows(here, _votes(part), reply_chars)))
            _keep(kept, key, lines)
        rounds.append(Packed(number, lines))
    return rounds


def _votes(part: dict[str, Any]) -> int:
    return replies_to_a_question(part["votes"]) if part["votes"] else 0


def _key(here: Path, reply_chars: int | None) -> str:
    """It changes whenever a file does that a round's blocks are made of, by size or time, or a stage of it is done."""
    facts: list[Any] = [_FORMAT, reply_chars]
    for name in (QUESTIONS, VOTES, f"curation/{DECISIONS}"):
        path = here / name
        stat = path.stat() if path.is_file() else None
        facts.append([run_dir.is_done(path.parent), stat and (stat.st_size, stat.st_mtime_ns)])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _keep(path: Path, key: str, lines: list[str]) -> None:
    text = "\n".join(lines)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, f"{_seal(key, text.encode())}\n{text}")


def _kept(path: Path, key: str) -> list[str] | None:
    """The lines that were kept under the key; None where there are none, or a byte of them isn't what it was."""
    if not path.is_file():
        return None
    seal, _, text = path.read_bytes().partition(b"\n")
    return text.decode().split("\n") if seal == _seal(key, text).encode() else None


def _seal(key: str, text: bytes) -> str:
    return f"{key} {hashlib.sha256(text).hexdigest()}"


def _lines(number: int, rows: list[dict[str, Any]]) -> Iterator[str]:
    index = {name: [row["index"][name] for row in rows] for name in rows[0]["index"]} if rows else {}
    yield _line(f"block-{number}-index", index)
    for start in range(0, len(rows), QUESTIONS_IN_BLOCK):
        texts = [row["texts"] for row in rows[start : start + QUESTIONS_IN_BLOCK]]
        yield _line(f"block-{number}-{start // QUESTIONS_IN_BLOCK}", texts)


def _line(name: str, value: Any) -> str:
    data = gzip.compress(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), 6, mtime=0)
    text = base64.b64encode(data).decode()
    return f'<script type="text/plain" class="block" id="{name}">{text}</script>'


def _rows(here: Path, votes: int, reply_chars: int | None) -> list[dict[str, Any]]:
    """Per question of the round, in the order asked, what the list shows ("index") and what opens ("texts")."""
    asked = [row for batch in batches(here / QUESTIONS, _ASKED) for row in batch]
    length = reply_chars or max(REPLY_CHARS[0], min(REPLY_CHARS[1], ROUND_CHARS // max(1, len(asked) * votes)))
    voted: dict[int, dict[str, Any]] = {}
    decided = None
    if _is_there(here / VOTES):
        for batch in batches(here / VOTES, _VOTED):
            voted |= {row["id"]: _voted(row, length) for row in batch}
        decided = decisions(here)
    return [_row(row, voted.get(row["id"]), decided) for row in asked]


def _is_there(path: Path) -> bool:
    """Whether the file's stage is done and the file is still there."""
    return run_dir.is_done(path.parent) and path.is_file()


_ASKED = ["id", "raw", "question", "claimed_answer", "well_formed"]
_VOTED = ["id", "raws", "answers", "classes", "label", "agreement", "answered", "truth"]


def _voted(row: dict[str, Any], length: int) -> dict[str, Any]:
    """A row of votes.parquet with its replies cut to `length`, and whether the label is true (None: not known)."""
    known = row["truth"] is not None
    return {
        **row,
        "raws": [cut(raw, length) for raw in row["raws"]],
        "answers": [None if answer is None else cut(answer, ANSWER_CHARS)[0] for answer in row["answers"]],
        "votes": len(row["raws"]),
        "sizes": [row["classes"].count(number) for number in range(max(row["classes"], default=-1) + 1)],
        "right": (row["label"] is not None and same_answer(row["label"], row["truth"])) if known else None,
    }


def _row(asked: dict[str, Any], voted: dict[str, Any] | None, decided: dict[int, Any] | None) -> dict[str, Any]:
    if not asked["well_formed"]:
        decision, reason = "rejected", "not_well_formed"
    elif voted is None or decided is None:
        decision, reason = "pending", "no_votes" if voted is None else "not_curated"
    else:
        decision, reason = decided[asked["id"]]
    voted = voted or {}
    shown = asked["question"] if asked["question"] is not None else asked["raw"]
    return {
        "index": {
            "id": asked["id"],
            "question": clean(shown[:INDEX_CHARS]),
            "length": len(shown),
            "decision": decision,
            "reason": reason,
            "agreement": voted.get("agreement"),
            "answered": voted.get("answered"),
            "sizes": voted.get("sizes"),
            "votes": voted.get("votes"),
            "label": _short(voted.get("label")),
            "right": voted.get("right"),
        },
        "texts": {
            "raw": cut(asked["raw"], TEXT_CHARS),
            "question": None if asked["question"] is None else cut(asked["question"], TEXT_CHARS),
            "claimed": _short(asked["claimed_answer"]),
            "truth": _short(voted.get("truth")),
            "replies": voted.get("raws"),
            "answers": voted.get("answers"),
            "classes": voted.get("classes"),
        },
    }


def _short(text: str | None) -> str | None:
    return None if text is None else cut(text, ANSWER_CHARS)[0]
