"""The pieces on their own: group answers by what they mean, vote, reward the question, keep what is informative.

    python examples/votes_and_curation.py

needs no model and no GPU. What it prints stands in votes_and_curation.txt.
"""

from verl_rzero import curate, last_boxed, uncertainty_reward, vote
from verl_rzero.data.records import VotedQuestion

# What a Solver might reply to three questions, four times each. In a run these are its own samples.
REPLIES = {
    "A fair die is rolled. What is the probability of more than 4?": [
        r"Two of six: \boxed{\frac{1}{3}}",
        r"5 and 6, so \boxed{2/6}",
        r"5 or 6 or 4: \boxed{0.5}",
        r"Let me list them: 1, 2, 3, 4",  # cut off before its answer
    ],
    "What is 2 + 3?": [r"\boxed{5}", r"\boxed{5.0}", r"\boxed{5}", r"It is \boxed{ 5 }"],
    "How many hairs has a dog?": [r"\boxed{10^6}", r"\boxed{15000}", r"\boxed{many}", "That depends."],
}


def main() -> None:
    """Vote, reward and curate a few made-up questions, and print each step."""
    voted = []
    for number, (question, replies) in enumerate(REPLIES.items()):
        answers = [last_boxed(reply) for reply in replies]
        result = vote(answers)
        print(question)
        print(f"  answers    {answers}")
        print(f"  classes    {list(result.classes)}")
        print(f"  label      {result.label}   agreement {result.agreement}   margin {result.margin}")
        print(f"  reward     {uncertainty_reward(result.agreement)}")
        voted.append(
            VotedQuestion(
                id=number,
                round=1,
                question=question,
                raws=replies,
                answers=answers,
                classes=list(result.classes),
                label=result.label,
                agreement=result.agreement,
                margin=result.margin,
                answered=result.answered,
                seed=0,
                model="example",
            )
        )
    curated = curate(voted, band=(0.25, 0.75))
    print("kept")
    for item in curated.kept:
        print(f"  {item.question}  ->  {item.label}")
    print("rejected")
    for item, reason in zip(voted, curated.reasons, strict=True):
        if reason is not None:
            print(f"  {item.question}  ({reason})")


if __name__ == "__main__":
    main()
