"""What `python -m verl_rzero.coevolve --help` says."""

import textwrap

from verl_rzero.settings import Settings, as_dict, compose, schema

HELP = """\
R-Zero on stock verl: a Challenger learns to ask what the Solver gets right half the time, the Solver learns from its
own majority votes, round after round, without data.

  python -m verl_rzero.coevolve [key=value ...]      or: bash recipes/run_rzero.sh [key=value ...]

  ... rounds=1 seed=3 challenger.steps=2                       a short run
  ... dry_run=true                                             print the plan, check everything, start nothing
  ... challenger.steps=0 run_dir=runs/control                  the control, whose Challenger is not trained
  ... solver.verl.actor_rollout_ref.actor.optim.lr=1e-6        any key of verl's own configuration
  ... model=qwen3_4b_base hardware=8gpu                        the paper's run
  ... method=ttrl model=ttrl_tiny                              TTRL instead (bash recipes/run_ttrl.sh): docs/ttrl.md
  ... method=absolute_zero model=code_tiny                     Absolute Zero instead: docs/absolute_zero.md

The same command continues a run that was interrupted.
"""


def help_text(settings: Settings) -> str:
    """What the command does and every key with its value and its meaning."""
    groups = [f"  {group}={'|'.join(compose.choices(group))}" for group in compose.GROUPS]
    values = schema.flat(as_dict(settings))
    lines = []
    for key in schema.keys(Settings):
        lines.append(f"  {key.name}={schema.value_of(key.name, values)}")
        lines += textwrap.wrap(f"{key.doc} ({key.type})", 112, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join([HELP, "Groups of settings, each a YAML file in recipes/:", *groups, "", "Keys:", *lines])
