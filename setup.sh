#!/usr/bin/env bash
# Makes the environment that `make bench` and `make test` run in: a virtual environment with everything pinned.
#   usage: setup.sh [VENV]        (default .venv; PYTHON=python3.12 chooses the interpreter)
# A second call with the same requirements returns at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$(realpath -m "${1:-$here/.venv}")
python=${PYTHON:-python3}
stamp="$venv/.maskbench-ready"
wanted=$(cat "$here"/requirements/*.txt "$here/pyproject.toml" | cksum)

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

say() { printf 'maskbench set-up: %s\n' "$*" >&2; }
step() { # step MINUTES-AND-WORDS COMMAND... : runs quietly, shows the end of the log when it fails
  say "$1"; shift
  local began=$SECONDS
  if ! "$@" >>"$venv/setup.log" 2>&1; then
    tail -n 40 "$venv/setup.log" >&2
    say "failed; the whole log is $venv/setup.log"
    exit 1
  fi
  say "  done in $((SECONDS - began)) s"
}

"$python" - <<'PY' || { say "needs Python 3.10 to 3.13; set PYTHON=python3.12, say"; exit 1; }
import sys
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PY

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip install --disable-pip-version-check --no-input)
step "1/4 torch and the build tools (5.5 GB; about 2 minutes)" "${pip[@]}" -r "$here/requirements/build.txt"
# mmcv is published as source only and its setup.py imports torch: hence no build isolation, and after torch.
# It asks the compiler for C++17, where torch's headers need C++20: hence the compiler in between. pip keeps the wheel it built.
for compiler in c++ nvcc; do
  printf '#!/usr/bin/env bash\nexec %s "${@/#-std=c++17/-std=c++20}"\n' "$compiler" >"$venv/bin/$compiler-20"
  chmod +x "$venv/bin/$compiler-20"
done
step "2/4 mmcv: compiling its operators (about 11 minutes on 2 cores, once; seconds when pip has the wheel)" \
  env CXX="$venv/bin/c++-20" PYTORCH_NVCC="$venv/bin/nvcc-20" MMCV_WITH_OPS=1 MAX_JOBS="${MAX_JOBS:-$(nproc)}" \
  "${pip[@]}" --no-build-isolation --no-deps -r "$here/requirements/mmcv.txt"
step "3/4 torchvision, transformers, mmdet, hotcoco and the rest (about 2 minutes)" "${pip[@]}" -r "$here/requirements/all.txt"
# opencv-python and opencv-python-headless write into the same folder and both are asked for; the headless one needs no libGL.
headless=$(grep '^opencv-python-headless==' "$here/requirements/all.txt")
install_ourselves() {
  "${pip[@]}" --force-reinstall --no-deps "$headless" && "${pip[@]}" --no-build-isolation --no-deps -e "$here"
}
step "4/4 maskbench itself" install_ourselves
printf '%s' "$wanted" >"$stamp"
say "ready: $venv"
