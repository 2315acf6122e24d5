"""The card of an exported dataset, README.md as the Hugging Face Hub reads it. A pure function."""

from verl_rzero.publish import cards, markdown
from verl_rzero.publish.cards import Exported
from verl_rzero.publish.words import paper

QUESTION_COLUMNS = {
    "id": "number of the question in its round",
    "round": "the round, from 1",
    "raw": "the whole text of the Challenger",
    "question": "what stands between `<question>` and `</question>` last; null without it",
    "claimed_answer": "what the Challenger boxed as the answer; never used",
    "well_formed": "whether there is a question",
    "seed": "seed of this sample",
    "model": "hash of the Challenger's weights, or its hub name",
}
VOTE_COLUMNS = {
    "id": "number of the question in its round, as in `questions`",
    "round": "the round, from 1",
    "question": "the question",
    "raws": "the Solver's whole replies",
    "answers": "the boxed answer of each reply; null where there is none",
    "classes": "class of each answer: answers that are equal mathematically share one; -1 for null",
    "label": "the first answer of the largest class: the pseudo-label; null when nobody answered",
    "agreement": "size of the largest class / number of replies; of answers, with the setting `unanswered: answered`",
    "margin": "(largest - second largest class) / the same number",
    "answered": "replies with an answer",
    "seed": "reply j was sampled with seed + j",
    "model": "hash of the Solver's weights, or its hub name",
    "truth": "the true answer where it is known, else null; no training saw it",
    "kept": "whether question and label went to the next Solver's training",
    "reason": "why it wasn't kept, else null",
}


def dataset_card(made: Exported) -> str:
    """README.md of the dataset's directory: `questions/` and `votes/`, a parquet file for each round."""
    from huggingface_hub import DatasetCardData

    title = f"{made.settings.model.name}: questions and votes of R-Zero"
    data = DatasetCardData(
        license=made.license,
        pretty_name=title,
        task_categories=["question-answering", "text-generation"],
        tags=[*made.words.tags, "synthetic"],
        size_categories=[_size(sum(made.rows.values()))],
        configs=[
            {"config_name": "votes", "data_files": "votes/*.parquet", "default": True},
            {"config_name": "questions", "data_files": "questions/*.parquet"},
        ],
    )
    replies = made.settings.votes_of_dataset
    people = "No person and no other model wrote or checked any of it."
    if made.settings.anchors.path:
        people = "Its training had some examples by people (`anchors` in the settings), which are not in here."
    asked = "round 1" if made.round == 1 else f"rounds 1 to {made.round}"
    what = (
        f"What {asked} of a run of {paper(made.settings)} asked and answered, complete: nothing is left out, good or "
        "bad. A Challenger, trained to ask what the Solver does not always answer alike, wrote the questions; "
        f"the Solver answered each well-formed one {replies} times; the majority's answer is its label. {people}"
    )
    code = f"""\
from datasets import load_dataset

votes = load_dataset("{made.dataset_repo or "."}", "votes", split="train")
kept = votes.filter(lambda row: row["kept"])"""
    low, high = made.settings.band
    votes = (
        f"## `votes`: {made.rows['votes']} rows, one for each well-formed question\n\n{_columns(VOTE_COLUMNS)}\n\n"
        f"Kept are questions with an agreement from {low:g} to {high:g} that no other rule of `curation` (see the "
        "settings) rejects; `reason` is the first rule that a question failed."
    )
    questions = (
        f"## `questions`: {made.rows['questions']} rows, one for each text of the Challenger\n\n"
        f"{_columns(QUESTION_COLUMNS)}"
    )
    limits = (
        "## What to be careful with\n\nLabels are majority votes of a model, not truths; questions may be wrong, "
        "unanswerable or repeated, and nobody has looked for unwanted content in them."
    )
    sections = [
        f"# {title}",
        what,
        markdown.fenced("python", code),
        votes,
        questions,
        cards.rounds_section(made),
        cards.settings_section(made),
        cards.versions_section(made),
        limits,
    ]
    return cards.card(data, [*sections, cards.license_section(made, "models that wrote these texts")])


def _columns(columns: dict[str, str]) -> str:
    return markdown.table(["column", ""], [[f"`{name}`", meaning] for name, meaning in columns.items()])


def _size(rows: int) -> str:
    """The Hub's category of a number of rows."""
    limits = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]
    return next((name for limit, name in limits if rows < limit), "10M<n<100M")
