"""What stands in a story: things, people, places, as patterns, and when two of them are the same."""

import re

STOP = (
    "more|less|fewer|left|now|in|on|at|of|to|from|with|and|or|than|each|every|are|is|was|were|has|have|had|does|do|did|many"
    "|much|how|there|then|if|all|total|altogether|together|equally|for|per|not|no|some|them|half|twice|away|other|another"
    "|extra|additional|same|times|dozen|hundred|thousand|percent"
)
PRONOUNS = ("he", "she", "they", "it")
WORD = rf"(?!(?:{STOP})\b)[a-z]+"
THING = rf"{WORD}(?: {WORD})?"
WHO = rf"(?:(?:the|a|an|my|his|her|our) )?(?!(?:the|a|an|my|his|her|our)\b){WORD}"
PLACE = rf"(?: (?:in|on|at) (?:the|a|an|his|her|my|their|it)(?: {WORD}){{0,2}})?"
END = r"(?: (?:now|left|in total|in all|altogether|all together|together|in the end|at the end))?"
TOTAL = r" (?:in total|in all|altogether|all together|together)"


def same(one: str, other: str) -> bool:
    """Whether two words are the same thing, be they one or several of it."""
    return singular(one) == singular(other)


def person(who: str) -> str:
    """A farmer is the farmer from then on."""
    return re.sub(r"^(?:the|an?) ", "", who)


def singular(words: str) -> str:
    """The last word without its plural: enough to see that `box` and `boxes` are the same."""
    irregular = {"children": "child", "people": "person", "men": "man", "women": "woman"}
    *before, last = words.split()
    if last in irregular:
        last = irregular[last]
    elif last.endswith(("ies", "ie")):  # of cookies and cherries alike
        last = last.removesuffix("s").removesuffix("ie") + "y"
    elif last.endswith(("xes", "ches", "shes", "sses", "oes")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith("ss"):
        last = last[:-1]
    return " ".join([*before, last])
