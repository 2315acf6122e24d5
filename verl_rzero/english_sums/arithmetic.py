"""Questions that are one calculation: "What is 12 + 7?", "the product of 3 and 4", "Subtract 5 from 9."."""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_CHARS = 400  # of a question; numbers and brackets within them are small enough to calculate with at once

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_TEN_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: n for n, word in enumerate(f"{_UNITS} seventeen eighteen nineteen".split())}
_TENS = {word: n for n, word in enumerate(_TEN_WORDS.split(), start=2)}
_NUMBER_WORD = re.compile(
    rf"(?<![\w-])(?:({'|'.join(_TENS)})(?:[ -]({'|'.join(list(_WORDS)[1:10])}))?|({'|'.join(_WORDS)}))(?![\w-])"
)
_SIGNS = str.maketrans({"×": "*", "✕": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-", "’": "'"})

_LEAD = re.compile(
    r"(?:(?:please|can you|could you|question|q)[,:]? )*"
    r"(?:(?:what is|what's|what does|what will be|what number is|how much is|how much does|how much do you get if you"
    r"|calculate|compute|find|solve|evaluate|work out|determine|simplify|tell me|what do you get (?:if|when) you"
    r"|what is the (?:result|answer|total) (?:if|when) you|if you)[,:]? ?)?"
    r"(?:the (?:value|result|answer|solution)(?: (?:of|to|for))[,:]? )?"
    r"(?:the following(?: (?:sum|problem|equation|expression|question|calculation))?[,:]? )?"
)
_TAIL = re.compile(r"(?:,? what do you get|,? what is the (?:result|answer|total))?[ ?_.!]*")
_EQUALS = re.compile(r" ?(?:=|(?:is )?equals?(?: to)?|make|give)[ ?_.!]*")

_N = r"(-?[0-9]+)"
_LIST = rf"({_N[1:-1]}(?:, {_N[1:-1]})*,? and {_N[1:-1]})"
_OPERATORS = {
    "plus": "+",
    "added to": "+",
    "minus": "-",
    "take away": "-",
    "times": "*",
    "multiplied by": "*",
    "x": "*",
    "\\times": "*",
    "\\cdot": "*",
    "divided by": "/",
    "\\div": "/",
    **{sign: sign for sign in "+-*/()"},
}
_TOKEN = re.compile(rf" *(?:([0-9]+)|({'|'.join(map(re.escape, _OPERATORS))})(?![a-z]))")


@dataclass(frozen=True)
class Reading:
    """What a question asks for: its answer, the numbers given, its operators (`~` before a negative number)."""

    value: int
    numbers: tuple[int, ...]
    operators: str


def normal(text: str) -> str:
    """One form for case, blanks, signs and number words up to ninety-nine."""
    text = " ".join(text.casefold().translate(_SIGNS).split())
    return _NUMBER_WORD.sub(_digits, text)


def read(question: str) -> Reading | None:
    """The reading of one calculation; None where there is none or more than one."""
    if len(question) > MAX_CHARS:
        return None
    text = normal(question)
    lead = _LEAD.match(text)
    body = text[lead.end() :] if lead else text
    return _in_words(_without_end(body)) or _in_signs(_without_end(body))


def _without_end(body: str) -> str:
    for end in (_TAIL, _EQUALS):
        found = [match for match in end.finditer(body) if match.end() == len(body)]
        body = body[: found[0].start()] if found else body
    return body.strip(" :")


def _digits(word: re.Match[str]) -> str:
    tens, unit, small = word.groups()
    return str(_WORDS[small] if small else 10 * _TENS[tens] + (_WORDS[unit] if unit else 0))


def _sum(numbers: list[int]) -> Reading | None:
    return Reading(sum(numbers), tuple(numbers), "+" * (len(numbers) - 1))


def _product(numbers: list[int]) -> Reading | None:
    value = 1
    for number in numbers:
        value *= number
    return Reading(value, tuple(numbers), "*" * (len(numbers) - 1))


def _difference(numbers: list[int]) -> Reading | None:
    return Reading(numbers[0] - numbers[1], tuple(numbers), "-") if len(numbers) == 2 else None


def _distance(numbers: list[int]) -> Reading | None:
    """Of "the difference between 3 and 9" people say 6 as well as -6."""
    return _difference(numbers) if numbers[0] >= numbers[1] else None


def _quotient(numbers: list[int]) -> Reading | None:
    if len(numbers) != 2 or numbers[1] == 0 or numbers[0] % numbers[1]:
        return None
    return Reading(numbers[0] // numbers[1], tuple(numbers), "/")


def _swapped(form: Callable[[list[int]], Reading | None]) -> Callable[[list[int]], Reading | None]:
    return lambda numbers: form(numbers[::-1])


_FORMS: list[tuple[re.Pattern[str], Callable[[list[int]], Reading | None]]] = [
    (re.compile(pattern), form)
    for pattern, form in (
        (rf"(?:the )?(?:sum|total) of {_LIST}", _sum),
        (rf"add {_LIST}(?: together)?", _sum),
        (rf"add {_N} to {_N}", _sum),
        (rf"{_N} more than {_N}", _sum),
        (rf"(?:the )?product of {_LIST}", _product),
        (rf"multiply {_LIST}(?: together)?", _product),
        (rf"multiply {_N} by {_N}", _product),
        (rf"(?:the )?difference (?:between|of) {_N} and {_N}", _distance),
        (rf"subtract {_N} from {_N}", _swapped(_difference)),
        (rf"take {_N} away from {_N}", _swapped(_difference)),
        (rf"{_N} subtracted from {_N}", _swapped(_difference)),
        (rf"{_N} less than {_N}", _swapped(_difference)),
        (rf"(?:the )?quotient of {_N} and {_N}", _quotient),
        (rf"divide {_N} by {_N}", _quotient),
    )
]


def _in_words(body: str) -> Reading | None:
    for pattern, form in _FORMS:
        if found := pattern.fullmatch(body):
            return form([int(number) for number in re.findall(_N, found.group())])
    return None


def _in_signs(body: str) -> Reading | None:
    """Chains of numbers, signs and brackets, with the usual precedence."""
    tokens: list[str] = []
    end = 0
    while end < len(body):
        token = _TOKEN.match(body, end)
        if token is None:
            return None
        number, sign = token.groups()
        tokens.append(str(int(number)) if number else _OPERATORS[sign])
        end = token.end()
    try:
        # Numbers, signs and brackets only: Python has the same precedence, and calls and tuples are refused below.
        tree = ast.parse(" ".join(tokens), mode="eval").body
    except SyntaxError:
        return None
    value = _value(tree)
    nodes = list(ast.walk(tree))
    operators = "".join(_SIGN_OF[type(node.op)] for node in nodes if isinstance(node, ast.BinOp | ast.UnaryOp))
    if value is None or not operators.strip("~"):
        return None
    # A walk takes what is outside first; the numbers in their order are those of the text.
    return Reading(value, tuple(int(token) for token in tokens if token.isdecimal()), operators)


_SIGN_OF: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.USub: "~",
    ast.UAdd: "~",
}


def _value(node: ast.expr) -> int | None:
    """The exact whole number; None for a division that leaves a rest and for all that is no such expression."""
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _value(operand)
            return None if inner is None else -inner
        case ast.BinOp(left=left, op=operator, right=right):
            a, b = _value(left), _value(right)
            if a is None or b is None:
                return None
            match operator:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.Div() if b != 0 and a % b == 0:
                    return a // b
    return None
