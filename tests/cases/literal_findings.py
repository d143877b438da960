"""Give a gate's report made of literal numbers, with every verdict."""

from __future__ import annotations

from bench.schema.gate_report import Finding, GateReport

SLOWER = Finding(
    model="solov2_r50_mmdet",
    job="solov2_r50_mmdet-coco-cuda_0-fp32-b1-00000000",
    metric="fps_model",
    verdict="worse",
    sentence="solov2_r50_mmdet: fps_model fell by 5.20 % [4.60, 5.90], from 21.3 to 20.19 images/s; threshold -2%",
    unit="images/s",
    base=21.3,
    head=20.19,
    change=-0.052,
    low=-0.059,
    high=-0.046,
    p=0.0015,
    threshold="-2%",
    test="bootstrap over 12 pairs of rounds, each batch against itself, Holm over 4 tests",
)
UNCLEAR = Finding(
    model="mask_rcnn_r50_torchvision",
    job="mask_rcnn",
    metric="mask_ap",
    verdict="ambiguous",
    sentence="mask_rcnn_r50_torchvision: mask_ap fell by 0.10 points [-0.05, 0.25]",
    unit="points",
    base=34.6,
    head=34.5,
    relative=False,
    change=-0.1,
    low=-0.25,
    high=0.05,
    p=0.4,
    threshold="-0.2",
)
LEANER = Finding(
    model="mask_rcnn_r50_torchvision",
    job="mask_rcnn",
    metric="peak_allocated_mb",
    verdict="better",
    sentence="mask_rcnn_r50_torchvision: peak_allocated_mb fell by 10.00 %",
    unit="MB",
    base=1000.0,
    head=900.0,
    change=-0.1,
    threshold="+1%",
    test="as read",
)
RUNS = Finding("solov2_r50_mmdet", "solov2", "status", "same", "solov2_r50_mmdet: runs in both")
SKIPPED = Finding(
    "mask_rcnn_r50_detectron2",
    "detectron2",
    "status",
    "not comparable",
    "mask_rcnn_r50_detectron2: skipped in the head: detectron2 is not installed in <python> & so on\x1b[0m",
)


def gate_report(passed: bool = False, on_ambiguous: str = "pass") -> GateReport:
    return GateReport(
        base="main (0123456789)",
        head="runs/ci",
        passed=passed,
        outcome="1 of 3 comparisons worse: solov2_r50_mmdet fps_model",
        findings=[RUNS, SLOWER, UNCLEAR, LEANER, SKIPPED],
        on_ambiguous=on_ambiguous,
        notes=["12 rounds a side"],
    )
