#!/usr/bin/env bash
# The tables of docs/results/<gpu>/, on a machine with a CUDA GPU, one part a call:
#
#   docs/results/gpu.sh IMAGES ANNOTATIONS OUT PART
#
# IMAGES and ANNOTATIONS are a COCO-format set of photographs (COCO val2017), OUT the folder of all parts. The same part with
# the same OUT goes on where it was stopped. PYTHON=... names the interpreter; without it, the environment of `make bench`.
#
# Each part is meant to take less than 10 minutes on a data-centre GPU. The arithmetic, estimated and rounded up: a worker
# takes 14 s until its first timed batch (torch, the library, CUDA context, annotations, at most 2 s of warm-up); each timed
# batch takes 3.5 times what counts against protocol.max_seconds, since it is also timed end to end and by stages; the memory
# pass takes 3 s, counting operations 3 s, energy its window and 1 s; the check before the first row takes 30 s.
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")/../.."

with_boxes=mask_rcnn_r50_torchvision,mask_rcnn_r50_v2_torchvision,mask_rcnn_r50_mmdet,mask_rcnn_r50_detectron2
with_boxes+=,mask_rcnn_r101_mmdet,mask_rcnn_r101_detectron2,point_rend_r50_mmdet,point_rend_r50_detectron2
without_boxes=solo_r50_mmdet,solov2_r50_mmdet,solov2_light_r50_mmdet
without_boxes+=,mask2former_r50_mmdet,mask2former_swin_t_mmdet,mask2former_swin_t_transformers
sizes=800x1333,640x1066,480x800

parts="variants-boxes-fp32 variants-boxes-fp16 variants-masks-fp32 variants-masks-fp16
sweep-mask_rcnn_r50_torchvision-32 sweep-mask_rcnn_r50_torchvision-16 sweep-solov2_r50_mmdet-32 sweep-solov2_r50_mmdet-16
sweep-mask2former_r50_mmdet-32 sweep-mask2former_r50_mmdet-16 sizes
agreement benchmarks rle
again-boxes-fp32 again-boxes-fp16 again-masks-fp32 again-masks-fp16"

usage() {
    echo "usage: $0 IMAGES ANNOTATIONS OUT PART"
    echo "PART is one of, in this order (again-* need variants-*):"
    echo "$parts" | tr ' ' '\n' | sed 's/^/  /'
    exit 2
} >&2

[ $# -eq 4 ] || usage
absolute() { case $1 in /*) echo "$1" ;; *) echo "$called_from/$1" ;; esac }
images=$(absolute "$1") annotations=$(absolute "$2") out=$(absolute "$3") part=$4
case " $(echo "$parts" | tr '\n' ' ') " in *" $part "*) ;; *) usage ;; esac
python=${PYTHON:-.venv/bin/python}

# 96 photographs: batches of 1 to 16 go round them evenly, and every size and shape is among them.
measure() {
    "$python" run_bench.py dataset=coco dataset.images="$images" dataset.annotations="$annotations" dataset.limit=96 \
        device=cuda:0 detections=saturated protocol.max_warmup_seconds=2 "$@" || [ $? -eq 1 ] # a row failed: it is shown
}

# 8 rows at most: 8 x (3 rounds x (14 + 3.5 x 1) + 3 + 3 + 6) + 30 = 546 s; the speed alone (again-*) 450 s.
variants() {
    local models=$with_boxes
    [ "$1" = boxes ] || models=$without_boxes
    measure study=variants model="$models" precision="$2" input_size=800x1333 \
        protocol.rounds=3 protocol.max_seconds=3 protocol.energy_seconds=5 "${@:3}"
}

# 10 rows: 10 x (14 + 3.5 x 4 + 3 + 3 + 6 for the warm-up of large batches) + 30 = 430 s.
sweep() {
    measure model="$1" precision="$2" batch_size=1,2,4,8,16 passes=[speed,memory] \
        protocol.rounds=1 protocol.max_seconds=4 out="$out/sweeps"
}

# The ratios are properties in the XML files.
benchmark() {
    "$python" -m pytest -p no:cacheprovider --junitxml="$out/benchmarks/$part.xml" "$@"
}

mkdir -p "$out/benchmarks"
case $part in
variants-*)
    IFS=- read -r _ kind precision <<<"$part"
    variants "$kind" "$precision" passes=[speed,memory,energy] out="$out/variants"
    ;;
again-*)
    IFS=- read -r _ kind precision <<<"$part"
    variants "$kind" "$precision" passes=[speed] out="$out/again"
    "$python" -m reports "$out/variants" --again "$out/again" | tee "$out/again.md"
    ;;
sweep-*-32) sweep "$(cut -d- -f2 <<<"$part")" fp32,tf32 ;;
sweep-*-16) sweep "$(cut -d- -f2 <<<"$part")" fp16,bf16 ;;
sizes)
    # 9 rows: 9 x (14 + 3.5 x 4 + 3 + 3) + 30 = 336 s.
    measure model=mask_rcnn_r50_torchvision,solov2_r50_mmdet,mask2former_r50_mmdet precision=fp16 input_size=$sizes \
        passes=[speed,memory] protocol.rounds=1 protocol.max_seconds=4 out="$out/sweeps"
    ;;
# Three libraries: 3 x (60 s of pairs at most + 30 s to build) = 270 s.
agreement) benchmark tests/benchmarks/test_agreement.py ;;
# Evaluation beside the libraries' own loops, the bootstrap, the harness: bounded by a timeout for each test.
benchmarks)
    benchmark tests/benchmarks --timeout=240 --ignore=tests/benchmarks/test_agreement.py \
        --ignore=tests/benchmarks/test_rle_speed.py --benchmark-json="$out/benchmarks/benchmarks.json"
    ;;
# Two sizes of masks, 22 calls of pycocotools of 0.2 s each, and the timings on the host: 60 s.
rle) benchmark tests/benchmarks/test_rle_speed.py --benchmark-json="$out/benchmarks/rle.json" ;;
esac
