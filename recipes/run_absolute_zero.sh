#!/usr/bin/env bash
# Absolute Zero from end to end: one model proposes code tasks to itself and solves them, an executor says what is right.
# Prepares the environment where needed. By itself it runs on the tiny code world.
#   bash recipes/run_absolute_zero.sh [key=value ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source recipes/environment.sh

prepare_environment
words=("$@")
[[ " $*" == *" model="* ]] || words+=(model=code_tiny)
[[ " $*" == *" method="* ]] || words+=(method=absolute_zero)
exec "$python" -m verl_rzero.coevolve "${words[@]}"
