"""What became of each question of a round."""

from pathlib import Path

from verl_rzero.data import run_dir

DECISIONS = "decisions.parquet"


def decisions(round_dir: Path) -> dict[int, tuple[str, str | None]] | None:
    """Per id of a voted question ("kept" or "rejected", the reason of a rejection); None until curation has written."""
    import pyarrow.parquet as pq

    written = round_dir / "curation" / DECISIONS
    if not run_dir.is_done(written.parent) or not written.is_file():
        return None
    rows = pq.read_table(written, columns=["id", "decision", "reason"]).to_pylist()
    return {row["id"]: (row["decision"], row["reason"]) for row in rows}
