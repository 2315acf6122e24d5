r"""Numbers as models write them, read exactly, with their units: `-\frac{1}{2}`, `1,000.5`, `12 "cm"`.

Input is the notation of `notation.clean`.
"""

import re
from fractions import Fraction

from verl_rzero.grading.notation import words

_INT = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,3}(?:[ ][0-9]{3})+|[0-9]+)"
_DEC = rf"(?:{_INT}(?:\.[0-9]*)?|\.[0-9]+)"
_SIGNED = rf"[+-]?\s?{_DEC}"
_VALUE = re.compile(
    rf"""(?P<sign>[+-]?)\s?(?P<currency>[¤€£¥]?)\s?(?:
    (?P<whole>{_INT})\s?\\frac\{{(?P<over>[0-9]+)\}}\{{(?P<under>[0-9]+)\}}
    |(?P<whole2>[0-9]+)\s(?P<over2>[0-9]+)\s?/\s?(?P<under2>[0-9]+)
    |(?P<before>[0-9]*)\.(?P<once>[0-9]*)(?:\\overline\s?\{{|\\dot\s?\{{(?=[0-9]\}})|(?<=\.)\()(?P<again>[0-9]+)[}})]
    |\\frac\{{\s?(?P<top>{_SIGNED})\s?\}}\{{\s?(?P<bottom>{_SIGNED})\s?\}}
    |(?P<top2>{_DEC})\s?/\s?(?P<bottom2>{_DEC})
    |(?P<mantissa>{_DEC})\s?(?:\\times|\\cdot|\*|\sx\s)\s?10\^\{{(?P<exponent>[+-]?[0-9]{{1,4}})\}}
    |(?P<mantissa2>{_DEC})[eE](?P<exponent2>[+-]?[0-9]{{1,4}})
    |\(?(?P<digits>(?=[A-F]*[0-9])[0-9A-F]+)\)?_(?:\{{\s?\(?(?P<base>[0-9]{{1,2}})\)?\s?\}}|(?P<base2>[0-9]))
    |(?P<decimal>{_DEC})
    )(?P<tail>.*)""",
    re.VERBOSE | re.DOTALL,
)
_MAX_EXPONENT = 400

# fmt: off
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_SHORT_UNITS = words(
    "mm cm dm km mg kg ml mL cl dl ft yd mi lb oz hr hrs min mins sec secs ms kW kJ Hz kHz mph kmh kph cc sq cu deg "
    "rad day men cup pen car cat dog per"
)
_NOT_UNITS = words(
    "squared cubed factorial half halves third thirds quarter quarters fourth fourths fifth fifths base modulo over "
    "choose root roots remainder infinity and or to plus minus not with from than power divided multiplied"
)
_SAME_UNIT = {
    "dollar": "¤", "usd": "¤", "euro": "€", "deg": "°", "degree": "°", "percent": "%", "percentage": "%", "hr": "hour",
    "hrs": "hour", "mins": "min", "minute": "min", "sec": "second", "secs": "second", "s": "second", "centimeter": "cm",
    "centimetre": "cm", "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km", "kilogram": "kg", "gram": "g",
    "foot": "ft", "feet": "ft", "inches": "inch", "in": "inch", "square": "sq", "cubic": "cu", "元": "¥",
    "people": "person",
}
# fmt: on
# What a unit is in the first one of its kind, exactly.
_IN = {
    unit: (kind, Fraction(size))
    for kind, sizes in {
        "m": {
            "mm": "0.001",
            "cm": "0.01",
            "dm": "0.1",
            "m": "1",
            "km": "1000",
            "inch": "0.0254",
            "ft": "0.3048",
            "yd": "0.9144",
            "mi": "1609.344",
            "mile": "1609.344",
        },
        "kg": {"mg": "1e-6", "g": "0.001", "kg": "1", "lb": "0.45359237", "oz": "0.028349523125"},
        "second": {"ms": "0.001", "second": "1", "min": "60", "hour": "3600", "day": "86400", "week": "604800"},
        "L": {"ml": "0.001", "mL": "0.001", "cl": "0.01", "dl": "0.1", "L": "1", "liter": "1", "litre": "1"},
        "¤": {"cent": "0.01", "¤": "1"},
    }.items()
    for unit, size in sizes.items()
}
_POWER = re.compile(r"(.*[^0-9^])(?:\^([23]))?")
_THOUSANDS = re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_CJK_NUMERALS = set("零一二三四五六七八九十百千万亿兆半分之倍点")
_DEGREES = re.compile(r"\^(?:\{ ?\\circ ?\}|\\circ)\s*([CF]?)")
_UNIT = re.compile(
    r"([A-Za-z]+\.?(?: [A-Za-z]+){0,3})(?: ?\^(?:\{([23])\}|([23])))?"
    r"(?: ?/ ?([A-Za-z]+)(?: ?\^(?:\{([23])\}|([23])))?)?"
)
_TRAILING_UNIT = re.compile(r'(.*[^\s"])\s*("[^"]+"(?: ?\^\{[23]\})?|\s(?:mm|cm|km|kg|ft)(?: ?\^\{[23]\})?)')


def quantity(text: str) -> tuple[Fraction, str] | None:
    """(value, unit) when the whole text is one number, perhaps with a unit ("" when without), else None."""
    match = _VALUE.fullmatch(text)
    if match is None:
        return None
    value = _value(match)
    unit = _unit(match["tail"])
    if value is None or unit is None or (match["currency"] and unit[1]):
        return None
    signed = -value if match["sign"] == "-" else value
    return signed * unit[0], match["currency"] or unit[1]


def unit_of(text: str) -> tuple[str, str] | None:
    r"""(rest, unit) of an expression that ends in a unit, as `2\pi "cm"`, else None."""
    match = _TRAILING_UNIT.fullmatch(text)
    unit = _unit(match[2]) if match else None
    return (match[1], unit[1]) if match and unit and unit[0] == 1 and unit[1] else None


def in_base_unit(value: Fraction, unit: str) -> tuple[Fraction, str] | None:
    """The same quantity in the first unit of its kind, as 50 mm = 1/20 m; None for units that are only names."""
    power = _POWER.fullmatch(unit)
    if power is None or power[1] not in _IN:
        return None
    kind, size = _IN[power[1]]
    exponent = int(power[2] or 1)
    return value * size**exponent, f"{kind}^{exponent}"


def without_thousands(text: str) -> str:
    """`1,000` as 1000 beside other separators (`1,000, 2,000`), and where a group could be no number (`(1,000)`)."""
    found = _THOUSANDS.findall(text)
    if not found:
        return text
    rest = _THOUSANDS.sub("", text)
    if re.search(r",\s|;", rest) or any(group.startswith("0") for one in found for group in one.split(",")[1:]):
        return _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    return text


def _value(match: re.Match[str]) -> Fraction | None:
    part = match.groupdict()
    if whole := part["whole"] or part["whole2"]:
        share = _ratio(part["over"] or part["over2"], part["under"] or part["under2"])
        return None if share is None else _decimal(whole) + share
    if part["again"]:
        period = Fraction(int(part["again"]), int("9" * len(part["again"])))
        return (int((part["before"] or "") + part["once"] or "0") + period) / Fraction(f"1e{len(part['once'])}")
    if top := part["top"] or part["top2"]:
        return _ratio(top, part["bottom"] or part["bottom2"])
    if exponent := part["exponent"] or part["exponent2"]:
        if abs(int(exponent)) > _MAX_EXPONENT:
            return None
        return _decimal(part["mantissa"] or part["mantissa2"]) * Fraction(f"1e{int(exponent)}")
    if part["digits"]:
        base = int(part["base"] or part["base2"])
        if not 2 <= base <= 16 or int(max(part["digits"]), 16) >= base:
            return None
        return Fraction(int(part["digits"], base))
    return _decimal(part["decimal"])


def _decimal(text: str) -> Fraction:
    plain = text.replace(",", "").replace(" ", "")
    return Fraction(plain.rstrip(".") if plain.endswith(".") else plain)


def _ratio(top: str, bottom: str) -> Fraction | None:
    under = _decimal(bottom)
    return _decimal(top) / under if under else None


def _unit(tail: str) -> tuple[int, str] | None:
    """(factor, canonical unit) of what follows a number, ("" when nothing does); None when it is no unit."""
    quoted = '"' in tail
    body = " ".join(tail.replace('"', " ").split())
    if body in ("", "%"):
        return 1, body
    if body in ("€", "£", "¥", "¤"):
        return 1, body
    degrees = _DEGREES.fullmatch(body)
    if degrees:
        return 1, f"°{degrees[1]}"
    if not body.isascii():
        is_cjk = all(char > "\u2e80" and char.isalpha() for char in body)
        is_unit = is_cjk and len(body) <= 6 and not _CJK_NUMERALS & set(body)
        return (1, _SAME_UNIT.get(body, body)) if is_unit else None
    match = _UNIT.fullmatch(body.rstrip("."))
    if match is None:
        return None
    names = match[1].replace(".", "").split()
    factor = _SCALES.get(names[0].lower(), 1)
    names = names[1:] if factor != 1 else names
    if any(name.lower() in _NOT_UNITS or name.lower() in _SCALES for name in names):
        return None
    if not quoted and not all(_is_plain_unit(name) for name in [*names, *filter(None, [match[4]])]):
        return None
    unit = " ".join(map(_canonical, names))
    power, under, under_power = match[2] or match[3], match[4], match[5] or match[6]
    return factor, unit + (f"^{power}" if power else "") + (f"/{_canonical(under)}{under_power or ''}" if under else "")


def _is_plain_unit(word: str) -> bool:
    return word in _SHORT_UNITS or len(word) >= 4


def _canonical(word: str) -> str:
    if len(word) > 2:
        word = word.lower()
    if word not in _SAME_UNIT and len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-2] if word.endswith(("ches", "shes", "xes", "sses")) else word[:-1]
    return _SAME_UNIT.get(word, word)
