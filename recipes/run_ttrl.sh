#!/usr/bin/env bash
# TTRL from end to end: a Solver on the majority of its own answers to questions without labels. Prepares the environment
# where needed. By itself it runs on the tiny world.
#   bash recipes/run_ttrl.sh [key=value ...]
#   bash recipes/run_ttrl.sh model=<recipe> data=<parquet or JSONL with a column question>
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source recipes/environment.sh

prepare_environment
words=("$@")
[[ " $*" == *" model="* ]] || words+=(model=ttrl_tiny)
[[ " $*" == *" method="* ]] || words+=(method=ttrl)
exec "$python" -m verl_rzero.coevolve "${words[@]}"
