r"""One notation for what models write in a box: LaTeX without layout, plain and Unicode mathematics as LaTeX.

Text commands (`\text{...}`, `\mathrm{...}`, ...) become `"..."`; currency signs become their own character; what this
module does not know passes through unchanged.
"""

import re
import unicodedata


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# fmt: off
FUNCTIONS = words(
    "sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan ln log exp sqrt min max gcd lcm det lim mod deg "
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega infty"
)
"""Names that are mathematics when they are written without a backslash."""

_CHARACTERS = str.maketrans({
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ",
    "÷": "/", "∕": "/", "⁄": "/", "√": r"\sqrt ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ",
    "⩾": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ", "∈": r"\in ", "°": r"^{\circ}",
    "º": r"^{\circ}", "±": r"\pm ", "∓": r"\mp ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}",
    "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ",
    "ε": r"\epsilon ", "θ": r"\theta ", "λ": r"\lambda ", "μ": r"\mu ", "π": r"\pi ", "ρ": r"\rho ", "σ": r"\sigma ",
    "τ": r"\tau ", "φ": r"\phi ", "ω": r"\omega ", "“": '"', "”": '"', "’": "'", "‘": "'", "′": "'", "。": ".",
    "、": ",", "⟨": "(", "⟩": ")", "…": "...", "\u200b": "", "\u200c": "", "\u200d": "", "\ufeff": "", "\u2060": "",
    "￥": "¥", "¢": " cent", "\u200e": "", "\u200f": "", "\u061c": "", "\u00ad": "", "\u2061": " ", "\u2062": " ",
} | {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # full-width ASCII
  | dict.fromkeys([*range(0x202A, 0x202D), *range(0x2066, 0x206A)], "")  # direction; not what displays 12 as 21
  | dict.fromkeys([*range(0x2060, 0x2061), *range(0x2063, 0x2066), *range(0xFE00, 0xFE10), 847, 0x180E], "")  # unseen
  | dict.fromkeys([0x115F, 0x1160, 0x2800, 0x3164, 0xFFA0], " "))  # blanks by other names

_COMMANDS = {
    "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "leq": r"\le", "leqslant": r"\le", "geq": r"\ge",
    "geqslant": r"\ge", "neq": r"\ne", "lt": "<", "gt": ">", "lbrace": r"\{", "rbrace": r"\}", "langle": "(",
    "rangle": ")", "lbrack": "[", "rbrack": "]", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|",
    "varnothing": r"\emptyset", "degree": r"^{\circ}", "ast": r"\cdot", "dots": "...", "ldots": "...", "cdots": "...",
    "colon": ":", "tbinom": r"\binom", "dbinom": r"\binom", "textdollar": "¤", "pounds": "£", "euro": "€",
    "quad": " ", "qquad": " ", "left": "", "right": "", "displaystyle": "", "textstyle": "", "limits": "", "big": "",
    "Big": "", "bigl": "", "bigr": "", "Bigl": "", "Bigr": "", "bigg": "", "Bigg": "", "thinspace": " ",
    "enspace": " ", "varphi": r"\phi", "varepsilon": r"\epsilon",
}
_ESCAPES = {"%": "%", "$": "¤", "_": "_", "&": "and", "#": "#"}
_ESCAPES |= dict.fromkeys("!()[]", "") | dict.fromkeys(",;: >", " ")
# fmt: on

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SUPERSCRIPTS = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPTS = re.compile(r"[₀₁₂₃₄₅₆₇₈₉]+")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|textsf|texttt|mathrm|mathbf|mathit|mathsf|mbox|hbox|operatorname|emph)"
    r"\s*\*?\s*\{([^{}]*)\}"
)
_BOLD = re.compile(r"\\(?:mathbf|boldsymbol|bm)\s*\{\s*([a-z])\s*\}")
_LAYOUT = re.compile(
    r"\\(?:color|hspace|vspace|tag|label|h?phantom|vphantom)\*?\s*\{[^{}]*\}"
    r"|\\(?:tiny|small|normalsize|large|Large|LARGE|huge|Huge|bf|it|rm|displaylimits|nolimits)(?![A-Za-z])"
    r"|\\(?:textcolor\s*\{[^{}]*\}|f?boxed|fbox|underline|ensuremath)\s*(?=\{)"
)
_CHOOSE = re.compile(r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}")
_EMPTY_DELIMITER = re.compile(r"\\(?:left|right)\s*\.")
_ESCAPE = re.compile(r"\\(?:\\|([A-Za-z]+)|([%$_&#!()\[\],;: >]))")
_GROUP = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
_FRAC = re.compile(rf"\\(frac|binom)\s*(?:({_GROUP})|([0-9A-Za-z]))\s*(?:({_GROUP})|([0-9A-Za-z]))")
_SQRT = re.compile(r"\\sqrt\s*(\[[^\[\]]*\])?\s*(?:([0-9]+|[A-Za-z])|\(([^()]*)\))")
_POWER = re.compile(r"\^\s*(?:([+-]?[0-9]+)|\(([^()]*)\)|([+-]?[A-Za-z]))")
_NAME = re.compile(r"(?<![\\A-Za-z])[A-Za-z]+(?![A-Za-z])")
_MINUTES = re.compile(r'(?<=[0-9])\s*"?\s*\\min\.?\s*"?\s*$')  # and not the minimum of something
_BLANKS = re.compile(r"\s+")
_FACTOR = re.compile(r"(\([+-]?[0-9.]+\)|(?<![0-9.,_^])[0-9]+)\s*(?=\([+-]?[0-9.]+\))")
"""A number before a number in brackets: the engine would add them, as whole and part of a mixed number. Not behind a
point, where brackets mean a period, nor in an index.
"""


def clean(answer: str) -> str:
    """The answer in one notation. Total; meant for answers of bounded length (see `normal_form.MAX_CHARS`)."""
    text = answer if answer.isascii() else _ascii(answer)
    text = _CONTROL.sub(" ", text).replace('"', "")
    text = _BOLD.sub(r"\\vec{\1}", _LAYOUT.sub("", text))
    for _ in range(3):  # text inside text
        text, found = _TEXT.subn(r'"\1"', text)
        if not found:
            break
    text = _EMPTY_DELIMITER.sub("", text).replace("{,}", ",").replace("~", " ")
    text = _dollars(_ESCAPE.sub(_escape, text))
    text = _quotes_once(text).replace("**", "^")
    text = _NAME.sub(lambda m: f"\\{m[0]}" if m[0] in FUNCTIONS else _spelled(m[0]), text)
    text = _MINUTES.sub(' "min"', text)
    text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
    text = _FRAC.sub(lambda m: rf"\{m[1]}{m[2] or '{' + m[3] + '}'}{m[4] or '{' + m[5] + '}'}", text)
    text = _SQRT.sub(lambda m: rf"\sqrt{m[1] or ''}{{{m[2] or m[3] or ''}}}", text)
    text = _POWER.sub(lambda m: f"^{{{m[1] or m[2] or m[3] or ''}}}", text)
    text = _FACTOR.sub(r"\1\\cdot ", _BLANKS.sub(" ", text)).strip()
    bare = text if text.endswith("...") else text.rstrip(" .,;:")
    return bare.lstrip("=: ") or text


def _ascii(text: str) -> str:
    text = _SUPERSCRIPTS.sub(lambda m: f"^{{{m[0].translate(_SUPERSCRIPT)}}}", text)
    text = _SUBSCRIPTS.sub(lambda m: f"_{{{m[0].translate(_SUBSCRIPT)}}}", text)
    text = "".join(_plain(char) if char > "\x7f" else char for char in text)
    return text.translate(_CHARACTERS)


def _plain(char: str) -> str:
    """Digits of any script and mathematical alphabets as ASCII, `½` as a fraction."""
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    if 0x1D400 <= ord(char) <= 0x1D7FF:
        return unicodedata.normalize("NFKC", char)
    return _vulgar_fraction(char)


def _vulgar_fraction(char: str) -> str:
    parts = unicodedata.decomposition(char).split()
    if not parts or parts[0] != "<fraction>":
        return char
    numerator, denominator = "".join(chr(int(code, 16)) for code in parts[1:]).split("⁄")
    return rf"\frac{{{numerator}}}{{{denominator}}}" if denominator else char


def _escape(match: re.Match[str]) -> str:
    name, symbol = match[1], match[2]
    if name is not None:
        return _COMMANDS.get(name, match[0])
    return _ESCAPES[symbol] if symbol is not None else match[0]


def _dollars(text: str) -> str:
    """Math delimiters go; one lone dollar sign before a number is a price."""
    if text.count("$") == 1 and re.match(r"\s*[+-]?\s*\$\s*[0-9.]", text):
        return text.replace("$", "¤")
    return text.replace("$", "")


def _quotes_once(text: str) -> str:
    return text if text.count('"') % 2 == 0 else text.replace('"', "")


def _spelled(word: str) -> str:
    if word in ("infinity", "inf", "Infinity"):
        return r"\infty"
    return "%" if word in ("percent", "pct") else word


def closing_bracket(text: str) -> int:
    """Where the bracket that opens the text is closed (interval brackets may differ); -1 when nowhere."""
    level = 0
    for place, char in enumerate(text):
        if char in "([{":
            level += 1
        elif char in ")]}":
            level -= 1
            if level == 0:
                return place
    return -1


def split_outside(text: str, separators: str) -> list[str]:
    """Parts between separators that stand outside every bracket."""
    parts, level, start = [], 0, 0
    for place, char in enumerate(text):
        if char in "([{":
            level += 1
        elif char in ")]}":
            level -= 1
        elif char in separators and level == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()]
