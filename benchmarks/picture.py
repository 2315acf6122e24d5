"""Draws the accuracy of several runs over the rounds as an SVG.

    python benchmarks/picture.py <out.svg> <directory> [rzero base_challenger]

The directory is that of `evidence.py`, as are the methods. A thin line a run, a thick one for the mean of each method.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

METHODS = {
    "rzero": ("R-Zero", "#1f6feb"),
    "base_challenger": ("Challenger not trained", "#d1762b"),
    "robust": ("method=robust", "#2da44e"),
    "near_base_wide_longer": ("near_base_wide_longer", "#2da44e"),
}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, GAP = 860, 350, 46, 34, 66, 40, 70


def accuracies(directory: Path, method: str, score: str) -> list[list[float]]:
    """[run][base, round 1, ...] of finished runs."""
    runs = []
    for path in sorted(directory.glob(f"{method}_*/report.json")):
        report = json.loads(path.read_text())
        parts = [report["base"], *report["rounds"]]
        if all(part["evaluation"] for part in parts) and len(parts) == report["settings"]["rounds"] + 1:
            runs.append([part["evaluation"]["tiny"][score] for part in parts])
    return runs


def panel(directory: Path, methods: Sequence[str], score: str, title: str, left: float, width: float) -> list[str]:
    """One set of axes with a line for every run and a thick one for each method's mean."""
    height = HEIGHT - TOP - BOTTOM
    shapes = [f'<text x="{left}" y="{TOP - 14}" class="title">{title}</text>']
    for tenth in (4, 5, 6, 7, 8, 9, 10):
        y = TOP + height * (10 - tenth) / 6
        shapes.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        shapes.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tenth / 10:.1f}</text>')
    for method in methods:
        runs, colour = accuracies(directory, method, score), METHODS[method][1]
        if not runs:
            continue
        mean = [sum(column) / len(runs) for column in zip(*runs, strict=True)]
        for run, thickness, opacity in [(run, 1.2, 0.45) for run in runs] + [(mean, 3.5, 1.0)]:
            points = " ".join(
                f"{left + width * i / (len(run) - 1):.1f},{TOP + height * (1 - (value - 0.4) / 0.6):.1f}"
                for i, value in enumerate(run)
            )
            style = f'fill="none" stroke="{colour}" stroke-width="{thickness}" opacity="{opacity}"'
            shapes.append(f'<polyline points="{points}" {style}/>')
        names = ["base", *(f"round {i}" for i in range(1, len(mean)))]
        if method == methods[0]:
            for i, name in enumerate(names):
                x = left + width * i / (len(names) - 1)
                shapes.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{name}</text>')
    return shapes


def legend(methods: Sequence[str]) -> list[str]:
    shapes, x = [], LEFT
    for name, colour in (METHODS[method] for method in methods):
        shapes.append(f'<line x1="{x}" x2="{x + 26}" y1="16" y2="16" stroke="{colour}" stroke-width="3.5"/>')
        shapes.append(f'<text x="{x + 34}" y="20">{name}</text>')
        x += 110
    return shapes


def draw(directory: Path, methods: Sequence[str]) -> str:
    width = (WIDTH - LEFT - RIGHT - GAP) / 2
    shapes = [
        *panel(directory, methods, "greedy", "greedy accuracy", LEFT, width),
        *panel(directory, methods, "mean_at_k", "sampled accuracy (mean@8)", LEFT + width + GAP, width),
        *legend(methods),
    ]
    style = "text{font:13px sans-serif;fill:#57606a}.title{font-weight:bold}.grid{stroke:#8b949e;stroke-opacity:.3}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
    back = f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>'
    return "\n".join([head, f"<style>{style}</style>", back, *shapes, "</svg>"]) + "\n"


def main(arguments: Sequence[str]) -> None:
    out, directory, *methods = arguments
    Path(out).write_text(draw(Path(directory), methods or ["rzero", "base_challenger"]))


if __name__ == "__main__":
    main(sys.argv[1:])
