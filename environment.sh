#!/usr/bin/env bash
# Makes an environment of its own for a library that setup.sh never installs; `make env LIB=ultralytics` calls it.
#   usage: environment.sh LIB [VENV]     (default .venv-LIB; PYTHON=python3.12 chooses the interpreter)
# A call that finds everything in place only says how to use it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
known="ultralytics"
lib=${1:-}
# What a worker imports, and what the library does where nothing is drawn or downloaded.
worker="torchvision hotcoco pycocotools pillow safetensors psutil nvidia-ml-py opencv-python-headless pyyaml requests"

say() { printf 'maskbench environment: %s\n' "$*" >&2; }
step() { # step WORDS COMMAND... : runs quietly, shows the end of the log when it fails
  say "$1"; shift
  if ! "$@" >>"$venv/setup.log" 2>&1; then
    tail -n 40 "$venv/setup.log" >&2
    say "failed; the whole log is $venv/setup.log"
    exit 1
  fi
}

if [[ -z "$lib" || " $known " != *" $lib "* ]]; then
  say "LIB=$lib: unknown, must be one of ${known// /,}"
  exit 1
fi
venv=$(realpath -m "${2:-$here/.venv-$lib}")
stamp="$venv/.maskbench-ready"
wanted=$(cat "$here"/requirements/{build,all,"$lib"}.txt "${BASH_SOURCE[0]}" | cksum | tr ' ' '-')

if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
  "${PYTHON:-python3}" - <<'PY' || { say "needs Python 3.10 to 3.13; set PYTHON=python3.12, say"; exit 1; }
import sys
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PY
  say "ultralytics comes under AGPL-3.0, or a licence that its makers sell; docs/install.md#ultralytics says what it asks"
  [ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
  pip=("$venv/bin/python" -m pip install --disable-pip-version-check --no-input)
  step "torch (5.5 GB; about 2 minutes)" "${pip[@]}" -r "$here/requirements/build.txt"
  # shellcheck disable=SC2086 # they are several words
  step "what a worker needs" "${pip[@]}" -c "$here/requirements/all.txt" $worker
  # It asks for an OpenCV that needs libGL, for a client of its makers' platform and for what draws; none is used here.
  step "$lib" "${pip[@]}" --no-deps -r "$here/requirements/$lib.txt"
  echo "$wanted" >"$stamp"
fi
say "ready: give model.python=$venv/bin/python"
