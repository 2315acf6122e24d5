#!/usr/bin/env bash
# What one GPU can tell about this project in ten minutes, without the internet once everything is installed (docs/gpu.md):
#   bash tests/gpu.sh [--minutes 10] [--platform cuda|cpu] [out_dir]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source recipes/environment.sh

prepare_environment
unset RAY_ADDRESS  # this machine is asked, and no cluster
export PYTHONPATH="$PWD/tests${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m gpu "$@"
