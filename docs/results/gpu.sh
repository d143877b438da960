#!/usr/bin/env bash
# The tables of docs/results/<gpu>/, on a machine with a CUDA GPU, one part a call, and the check of what has an aim:
#
#   docs/results/gpu.sh IMAGES ANNOTATIONS OUT PART
#   docs/results/gpu.sh IMAGES ANNOTATIONS OUT check [--rehearse] [--only STEP,...]
#
# IMAGES and ANNOTATIONS are a COCO-format set of photographs (COCO val2017), OUT the folder of all parts. PYTHON=... names
# the interpreter; without it, the environment of `make bench`.
#
# Each part takes less than 6 minutes. It is interrupted after 350 s, and the same part with the same OUT goes on where it was
# stopped. By what an H200 took (h200/seconds.csv), where a row of two processes took 24 to 37 s for 7 s of work: a process
# takes 9 s before its work with torchvision and detectron2, 15 s with mmdet. By arithmetic: each timed batch takes 3.5 times
# what counts against protocol.max_seconds, since it is also timed end to end and by stages; the busy pass takes 4 s, the
# memory pass 3 s, counting operations 3 s, energy its window and 1 s; the check before the first row takes 30 s.
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")/../.."

declare -A groups=(
    [1]=mask_rcnn_r50_torchvision,mask_rcnn_r50_v2_torchvision,mask_rcnn_r50_detectron2,mask_rcnn_r101_detectron2
    [2]=mask_rcnn_r50_mmdet,mask_rcnn_r101_mmdet,point_rend_r50_mmdet
    [3]=solo_r50_mmdet,solov2_r50_mmdet,solov2_light_r50_mmdet
    [4]=point_rend_r50_detectron2,mask2former_r50_mmdet,mask2former_swin_t_mmdet
    [5]=mask2former_swin_t_transformers
)
parts="variants-1-fp32 variants-1-fp16 variants-2-fp32 variants-2-fp16 variants-3-fp32 variants-3-fp16
variants-4-fp32 variants-4-fp16 variants-5-fp32 variants-5-fp16
agreement busy rle evaluation-torchvision evaluation-mmdet evaluation-detectron2 harness
sweep-mask_rcnn_r50_torchvision-fp32 sweep-mask_rcnn_r50_torchvision-tf32 sweep-mask_rcnn_r50_torchvision-fp16
sweep-mask_rcnn_r50_torchvision-bf16 sweep-solov2_r50_mmdet-fp32 sweep-solov2_r50_mmdet-tf32 sweep-solov2_r50_mmdet-fp16
sweep-solov2_r50_mmdet-bf16 sweep-mask2former_r50_mmdet-fp32 sweep-mask2former_r50_mmdet-tf32
sweep-mask2former_r50_mmdet-fp16 sweep-mask2former_r50_mmdet-bf16
sizes-mask_rcnn_r50_torchvision sizes-solov2_r50_mmdet sizes-mask2former_r50_mmdet
again-1-fp32 again-1-fp16 again-2-fp32 again-2-fp16 again-3-fp32 again-3-fp16 again-4-fp32 again-4-fp16
again-5-fp32 again-5-fp16
page check"

usage() {
    echo "usage: $0 IMAGES ANNOTATIONS OUT PART"
    echo "PART is one of, in this order (again-* need variants-*; page needs the parts before it, and no GPU):"
    echo "$parts" | tr ' ' '\n' | sed 's/^/  /'
    exit 2
} >&2

[ $# -ge 4 ] || usage
absolute() { case $1 in /*) echo "$1" ;; *) echo "$called_from/$1" ;; esac }
images=$(absolute "$1") annotations=$(absolute "$2") out=$(absolute "$3") part=$4
case " $(echo "$parts" | tr '\n' ' ') " in *" $part "*) ;; *) usage ;; esac
[ $# -eq 4 ] || [ "$part" = check ] || usage
python=${PYTHON:-.venv/bin/python}

# The status of what it runs; 124 where that was stopped.
limited() {
    local status=0
    timeout --signal=INT --kill-after=20 350 "$python" "$@" || status=$?
    [ $status -ne 124 ] || echo "$part was stopped after 350 s; the same command goes on with it" >&2
    return $status
}

# 96 photographs: batches of 1 to 16 go round them evenly, and every size and shape is among them.
measure() {
    local status=0
    limited run_bench.py dataset=coco dataset.images="$images" dataset.annotations="$annotations" dataset.limit=96 \
        device=cuda:0 detections=saturated protocol.max_warmup_seconds=2 "$@" || status=$?
    [ $status -eq 1 ] || return $status # 1: a row failed, and is shown
}

# 4 processes a row and 27 s of work. Group 1: 4 x (4 x 9 + 27) + 30 = 282 s. Groups 2 to 4: 3 x (4 x 15 + 27) + 30 = 291 s.
variants() {
    measure study=variants model="${groups[$1]}" precision="$2" input_size=800x1333 \
        protocol.rounds=3 protocol.max_seconds=3 protocol.energy_seconds=5 "${@:3}"
}

# 5 rows: 5 x (2 x 15 + 3.5 x 4 + 3 + 6 for the warm-up of large batches) + 30 = 295 s.
sweep() {
    measure model="$1" precision="$2" batch_size=1,2,4,8,16 passes=[speed,memory] \
        protocol.rounds=1 protocol.max_seconds=4 out="$out/sweeps"
}

# The figures are properties in the XML files.
benchmark() {
    limited -m pytest -p no:cacheprovider -o junit_family=xunit1 --junitxml="$out/benchmarks/$part.xml" "$@"
}

mkdir -p "$out/benchmarks"
case $part in
variants-*)
    IFS=- read -r _ group precision <<<"$part"
    variants "$group" "$precision" passes=[speed,busy,memory,energy,flops] out="$out/variants"
    ;;
again-*)
    IFS=- read -r _ group precision <<<"$part"
    variants "$group" "$precision" passes=[speed] out="$out/again"
    "$python" -m reports "$out/variants" --again "$out/again" | tee "$out/again.md"
    ;;
sweep-*) sweep "$(cut -d- -f2 <<<"$part")" "$(cut -d- -f3 <<<"$part")" ;;
sizes-*)
    # 3 rows: 3 x (2 x 15 + 3.5 x 4 + 3) + 30 = 171 s.
    measure model="$(cut -d- -f2 <<<"$part")" precision=fp16 input_size=800x1333,640x1066,480x800 \
        passes=[speed,memory] protocol.rounds=1 protocol.max_seconds=4 out="$out/sweeps"
    ;;
# Three libraries took 81 s, two of them all the 30 s that pairs may take.
agreement) benchmark tests/benchmarks/test_agreement.py ;;
busy) benchmark tests/passes/test_busy_on_a_card.py ;;
# Two sizes of masks took 12 s.
rle) benchmark tests/benchmarks/test_rle_speed.py::test_on_the_gpu ;;
# One library a part: mmdet's own loop did not end within 110 s.
evaluation-torchvision) benchmark tests/benchmarks/test_evaluation_speed.py::test_torchvision_reference ;;
evaluation-mmdet) benchmark tests/benchmarks/test_evaluation_speed.py::test_mmdet_test_loop ;;
evaluation-detectron2) benchmark tests/benchmarks/test_evaluation_speed.py::test_detectron2_inference_on_dataset ;;
# What maskbench itself costs on this machine; bounded by a timeout for each test.
harness)
    benchmark tests/benchmarks --timeout=240 --ignore=tests/benchmarks/test_agreement.py \
        --ignore=tests/benchmarks/test_rle_speed.py --ignore=tests/benchmarks/test_evaluation_speed.py \
        --benchmark-json="$out/benchmarks/benchmarks.json"
    ;;
page) "$python" docs/results/gpu/page.py collect "$out" "$out/page" ;;
check) "$python" docs/results/gpu/check.py "$images" "$annotations" "$out/check" "${@:5}" ;;
esac
