#!/usr/bin/env bash
# Makes the environment that `make bench` and `make test` run in: a virtual environment with everything pinned.
#   usage: setup.sh [VENV [LIBS]]     (default .venv; PYTHON=python3.12 chooses the interpreter)
# LIBS names libraries, as torchvision,transformers: only these are installed, and without mmdet nothing is compiled.
# The default is all of them; a later call adds what is missing. A call that finds everything in place returns at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$(realpath -m "${1:-$here/.venv}")
all="torchvision transformers mmdet onnxruntime openvino"
libs=${2:-$all}
libs=${libs//,/ }
python=${PYTHON:-python3}
# The stamp holds a checksum of the requirements, and the libraries that were installed with them.
stamp="$venv/.maskbench-ready"
wanted=$(cat "$here"/requirements/{all,build,mmcv}.txt "$here/pyproject.toml" | cksum | tr ' ' '-')

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
has() { [[ " $1 " == *" $2 "* ]]; } # has LIST WORD

for lib in $libs; do
  has "$all" "$lib" && continue
  say "LIBS=$lib: unknown, must be some of ${all// /,} (detectron2 is built by hand: docs/install.md#detectron2; make env LIB=ultralytics)"
  exit 1
done

# Libraries that are installed with these same requirements are kept.
present=""
if [ -f "$stamp" ]; then
  read -r installed present <"$stamp" || true # it may lack the end of its line
  [ "$installed" = "$wanted" ] || present=""
fi
missing=""
for lib in $libs; do has "$present" "$lib" || missing+=" $lib"; done
if [ -z "$missing" ]; then exit 0; fi

"$python" - <<'PY' || { say "needs Python 3.10 to 3.13; set PYTHON=python3.12, say"; exit 1; }
import sys
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PY

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip install --disable-pip-version-check --no-input)

# mmcv is published as source only and its setup.py imports torch: hence after torch and without build isolation.
# It asks for C++17, but torch's headers need C++20: hence the wrapper of the compiler. pip caches the wheel.
compile_mmcv() {
  local compiler
  for compiler in c++ nvcc; do
    printf '#!/usr/bin/env bash\nexec %s "${@/#-std=c++17/-std=c++20}"\n' "$compiler" >"$venv/bin/$compiler-20"
    chmod +x "$venv/bin/$compiler-20"
  done
  env CXX="$venv/bin/c++-20" PYTORCH_NVCC="$venv/bin/nvcc-20" MMCV_WITH_OPS=1 MAX_JOBS="${MAX_JOBS:-$(nproc)}" \
    "${pip[@]}" --no-build-isolation --no-deps -r "$here/requirements/mmcv.txt"
}
# mmdet asks for opencv-python and opencv-python-headless, which write into the same folder; the headless one, which
# needs no libGL, is installed last.
install_ourselves() {
  if has "$missing" mmdet; then
    "${pip[@]}" --force-reinstall --no-deps "$(grep '^opencv-python-headless==' "$here/requirements/all.txt")" || return 1
  fi
  "${pip[@]}" --no-build-isolation --no-deps -e "$here"
}

# all.txt pins every version; the extras of pyproject.toml say which of its packages a part of the libraries needs.
install_libraries() {
  local lib extras=dev whole=yes
  for lib in $all; do
    if has "$present $missing" "$lib"; then extras+=",$lib"; else whole=""; fi
  done
  if has "$present $missing" onnxruntime; then extras+=",export"; fi
  if [ "$whole" ]; then
    "${pip[@]}" -r "$here/requirements/all.txt"
  else
    "${pip[@]}" --no-build-isolation -c "$here/requirements/all.txt" -e "$here[$extras]"
  fi
}

step "torch and the build tools (5.5 GB; about 2 minutes)" "${pip[@]}" -r "$here/requirements/build.txt"
if has "$missing" mmdet; then
  step "mmcv: compiling its operators (about 11 minutes on 2 cores, once; seconds when pip has the wheel)" compile_mmcv
fi
step "$(sed 's/^ //; s/ /, /g' <<<"$missing"), hotcoco and the rest (about 2 minutes)" install_libraries
step "maskbench itself" install_ourselves
echo "$wanted $present$missing" >"$stamp"
say "ready: $venv"
