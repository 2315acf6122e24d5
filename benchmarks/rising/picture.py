"""Ideas over the rounds, a drawing for each seed, as one SVG file.

    python benchmarks/rising/picture.py <directory> <file.svg> --ideas paper near_base --seeds 4 0 3

Reads runs of benchmarks/rising; each idea keeps its colour.
"""

import argparse
from pathlib import Path
from typing import Any

from loop import rounds_of

from verl_rzero.watch.web import svg
from verl_rzero.watch.web.svg import Point, Series

COLOURS = {"c1": "#1f6feb", "c2": "#d1762b", "c3": "#2da44e", "c4": "#8250df", "c5": "#cf222e", "grey": "#57606a"}
SCORES = {"greedy": "greedy accuracy", "sampled": "sampled accuracy"}
STYLE = (
    "text{font:11px sans-serif;fill:#57606a}.title{font-weight:bold;font-size:13px}.grid{stroke:#8b949e;"
    "stroke-opacity:.3}.line{fill:none;stroke-width:2}.mid{text-anchor:middle}.end{text-anchor:end}"
) + "".join(
    f".line-{tone}{{stroke:{colour}}}.fill-{tone}{{fill:{colour}}}text.text-{tone}{{fill:{colour}}}"
    for tone, colour in COLOURS.items()
)
TITLE = 24


def drawing(runs: dict[str, list[dict[str, Any]]], score: str) -> str:
    """Lines of one seed, an idea each, from 0 for the base model to the last round."""
    tones = dict(zip(runs, COLOURS, strict=False))
    series = [
        Series(name, tones[name], [Point(line["round"], line[score]) for line in lines]) for name, lines in runs.items()
    ]
    longest = max(map(len, runs.values()))
    marks = [(round_, str(round_) if round_ else "base") for round_ in range(longest)]
    return svg.lines(series, marks, lambda value: f"{value:.2f}", about=SCORES[score])


def picture(directory: Path, ideas: list[str], seeds: list[int]) -> str:
    """Greedy accuracy above, sampled accuracy below, a column for each seed."""
    width, height = svg.WIDTH, svg.HEIGHT + TITLE
    parts = []
    for row, score in enumerate(SCORES):
        for column, seed in enumerate(seeds):
            runs = {name.replace("_", " "): lines for name in ideas if (lines := rounds_of(directory, name, seed))}
            x, y = column * width, row * height
            inner = drawing(runs, score).replace(
                "<svg ", f'<svg x="{x}" y="{y + TITLE}" width="{width}" height="{svg.HEIGHT}" ', 1
            )
            parts += [f'<text class="title" x="{x + 12}" y="{y + 16}">{SCORES[score]}, seed {seed}</text>', inner]
    size = f"0 0 {len(seeds) * width} {len(SCORES) * height}"
    back = '<rect width="100%" height="100%" rx="8" fill="#ffffff"/>'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}"><style>{STYLE}</style>{back}'
    return f"{start}{''.join(parts)}</svg>\n"


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--ideas", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    args = parser.parse_args()
    if len(args.ideas) > len(COLOURS):
        parser.error(f"--ideas: {len(COLOURS)} at most, as many as there are colours")
    args.file.write_text(picture(args.directory, args.ideas, args.seeds))


if __name__ == "__main__":
    main()
