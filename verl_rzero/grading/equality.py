"""Equality of two parsed answers: by notation where that decides it, else by an engine that is asked about leaves."""

import re
from collections.abc import Callable
from dataclasses import replace

from verl_rzero.grading.normal_form import Form
from verl_rzero.grading.quantities import in_base_unit
from verl_rzero.grading.wording import without_blanks

Ask = Callable[[str, str], bool]


def equal(a: Form, b: Form, ask: Ask) -> bool:
    """Whether two parsed answers are the same; `ask(latex, latex)` decides what notation alone cannot."""
    if a.name and b.name and a.name != b.name:
        return {a.kind, b.kind} <= {"symbolic", "letter"} and ask(a.equation, b.equation)
    if a.key == b.key:
        return _equal_units(a, b)
    if _product(a) == b.key or _product(b) == a.key:
        return not (a.unit and b.unit)
    if "text" in (a.kind, b.kind):
        return False
    kinds = {a.kind, b.kind}
    if kinds & {"list", "set"}:
        return _equal_collections(a, b, ask)
    if kinds <= {"number", "letter"}:
        return a.kind == b.kind == "number" and (_equal_share(a, b) or _equal_quantity(a, b))
    if kinds <= {"symbolic", "number", "letter"}:
        return _equal_units(a, b) and _equal_symbolic(a, b, ask)
    if kinds in ({"tuple"}, {"matrix"}):
        same_shape = a.shape == b.shape and len(a.parts) == len(b.parts)
        return same_shape and all(equal(p, q, ask) for p, q in zip(a.parts, b.parts, strict=True))
    if "symbolic" in kinds and kinds & {"tuple", "matrix"}:
        return ask(a.latex, b.latex)
    return False


def _equal_units(a: Form, b: Form) -> bool:
    return not a.unit or not b.unit or a.unit == b.unit


def _product(form: Form) -> str:
    """The key of `3 m` for `3 "m"`: a lone letter is read as a factor where nothing says that it is a unit."""
    unit = re.sub(r"\^([0-9])", r"^{\1}", form.unit)
    return f"s:{without_blanks(form.latex)}{unit}" if unit else ""


def _equal_share(a: Form, b: Form) -> bool:
    """50% = 1/2."""
    share_a, share_b = (form.value / 100 if form.unit == "%" else form.value for form in (a, b))
    return {a.unit, b.unit} == {"%", ""} and share_a == share_b


def _equal_quantity(a: Form, b: Form) -> bool:
    """50 mm = 5 cm."""
    in_base = [in_base_unit(form.value, form.unit) for form in (a, b)]
    return in_base[0] is not None and in_base[0] == in_base[1]


def _equal_symbolic(a: Form, b: Form, ask: Ask) -> bool:
    relations = {a.relation, b.relation}
    if "=" in relations and relations != {"="}:  # an equation equals no value, but it may restate `name = value`
        other = b if a.relation == "=" else a
        return bool(other.name) and other.relation == "" and ask(a.equation, b.equation)
    if "<" in relations and relations not in ({"<"}, {"<", "set"}):
        return False
    return _same_case(a.latex, b.latex) and ask(a.latex, b.latex)


def _same_case(a: str, b: str) -> bool:
    """False where a variable is a capital in one and a small letter in the other (the engine ignores case)."""
    letters_a, letters_b = (set(re.sub(r"\\[A-Za-z]+", "", text)) for text in (a, b))
    only_a, only_b = letters_a - letters_b, letters_b - letters_a
    return not any(char.isascii() and char.isalpha() and char.swapcase() in only_b for char in only_a)


def _equal_collections(a: Form, b: Form, ask: Ask) -> bool:
    if {a.kind, b.kind} == {"tuple", "list"}:
        return _equal_solution(*((a, b) if a.kind == "tuple" else (b, a)), ask)
    if {"tuple", "matrix"} & {a.kind, b.kind}:
        return False
    parts_a, parts_b = ((form.parts if form.kind in ("list", "set") else (form,)) for form in (a, b))
    if "symbolic" in (a.kind, b.kind) and {a.relation, b.relation} & {"<", "set"}:
        return ask(a.latex, b.latex)
    if len(parts_a) != len(parts_b):
        return False
    named_a, named_b = ({part.name for part in parts} for parts in (parts_a, parts_b))
    if (len(named_a) > 1 and named_b == {""}) or (len(named_b) > 1 and named_a == {""}):
        in_order = a.kind == b.kind == "list"  # `x=1, y=2` is `1, 2` and not `2, 1`
        return in_order and all(equal(p, q, ask) for p, q in zip(parts_a, parts_b, strict=True))
    left = list(parts_b)
    for part in parts_a:
        match = next((k for k, other in enumerate(left) if equal(part, other, _never)), None)
        if match is None:
            match = next((k for k, other in enumerate(left) if equal(part, other, ask)), None)
        if match is None:
            return False
        del left[match]
    return True


def _equal_solution(point: Form, values: Form, ask: Ask) -> bool:
    """`(x,y) = (1,2)` is `x=1, y=2`; a point without names has its values in the alphabet's order of theirs."""
    by_name = {part.name: replace(part, name="") for part in values.parts}
    if point.shape != "()" or "" in by_name or not len(by_name) == len(values.parts) == len(point.parts):
        return False
    order = point.name[1:-1].split(",") if point.name else sorted(by_name)
    return set(order) == set(by_name) and all(
        equal(by_name[name], part, ask) for name, part in zip(order, point.parts, strict=True)
    )


def _never(_a: str, _b: str) -> bool:
    return False
