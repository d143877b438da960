"""Compare what our ``forward`` and ``postprocess`` ask of the device with what the library's own call does.

At batch 1 a GPU waits for the host to launch its kernels, so each operator more makes a model slower than it is. Both
sides run the demo Mask R-CNN under the same grad mode. What is ours alone stands in ``EXTRA`` with its reason; an
operator that waits for the device is refused anywhere else.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from counted_operators import BytesToDevice, CountedOperators

from bench.passes.runner import Runner
from bench.predictor import Settings, TorchPredictor
from bench.weights.load import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
Call = Callable[[], Any]

EXTRA = {
    "torchvision": {
        "div.Tensor": 1,  # pixels from 0..255 to 0..1, which the caller of the library does before
        "index.Tensor": 1,  # labels by our own numbers
        "gt.Scalar": 1,  # masks are boolean, the library gives probabilities
        "to.dtype": 5,  # features to float32, which changes nothing in fp32
    },
    "mmdet": {
        "gt.Tensor": 1,  # the check that scores fall, the only operator of ours that waits
        "any": 1,
        "is_nonzero": 1,
        "slice.Tensor": 5,  # two for that check; the others cut boxes, scores and labels to the most detections
        "clone": 1,  # boxes, which the library scales in place
        "alias": 1,
        "to.dtype": 4,  # to the types of Instances, which changes nothing in fp32
    },
    "detectron2": {
        "clone": 1,  # boxes, which the library scales in place
        "to.dtype": 5,  # to the types of Instances, which changes nothing in fp32
    },
}
LESS = {
    # The resize is in our preprocess.
    "torchvision": {"upsample_bilinear2d.vec": 1, "unsqueeze": 1},
    # The library moves and reshapes an empty result of its data sample.
    "mmdet": {"to.dtype_layout": 4, "to.device": 2, "reshape": 2},
    "detectron2": {},
}
WAITING = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "index.Tensor by booleans", "equal"}


def demo(library: str) -> TorchPredictor:
    pytest.importorskip(library, reason=f"{library} is not installed")
    config = yaml.safe_load((ROOT / "configs" / "model" / f"demo_mask_rcnn_{library}.yaml").read_text("utf-8"))
    place, _, target = config["_target_"].rpartition(".")
    settings = Settings(
        CPU,
        checkpoint=load_checkpoint(ROOT / config["weights"]),
        classes=("circle", "square", "triangle", "star", "ring", "bar"),
        score_threshold=0.0,
        max_detections=20,
        config=config.get("config"),
    )
    return getattr(importlib.import_module(place), target)(settings, **config["options"])


def torchvision_call(predictor: TorchPredictor, image: np.ndarray) -> Call:
    pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    return lambda: predictor.module([pixels.to(CPU)])


def mmdet_call(predictor: Any, image: np.ndarray) -> Call:
    from mmcv.transforms import Compose
    from mmdet.apis import init_detector
    from mmdet.utils import get_test_pipeline_cfg

    detector = init_detector(predictor.config, None, palette="random", device="cpu")
    detector.load_state_dict(predictor.module.state_dict())
    steps = get_test_pipeline_cfg(predictor.config.copy())
    steps[0].type = "LoadImageFromNDArray"
    packed = Compose(steps)({"img": np.ascontiguousarray(image[..., ::-1]), "img_id": 0})
    return lambda: detector.test_step({key: [packed[key]] for key in ("inputs", "data_samples")})


def detectron2_call(predictor: Any, image: np.ndarray) -> Call:
    resized = predictor.resize.get_transform(image).apply_image(image[:, :, ::-1])
    pixels = torch.as_tensor(np.ascontiguousarray(resized.transpose(2, 0, 1)))
    return lambda: predictor.module([{"image": pixels, "height": image.shape[0], "width": image.shape[1]}])


CALLS: dict[str, Callable[[Any, np.ndarray], Call]] = {
    "torchvision": torchvision_call,
    "mmdet": mmdet_call,
    "detectron2": detectron2_call,
}


def counted(call: Call) -> tuple[Counter[str], int]:
    """Give the operators of one call by name, and the bytes of images that it sends; a first call is not counted."""
    call()
    with torch.inference_mode(), BytesToDevice() as sent, CountedOperators() as operators:
        call()
    return operators.counts, sent.images


@pytest.mark.parametrize("library", CALLS)
def test_ours_asks_what_the_library_asks_but_for_what_is_listed(library: str) -> None:
    predictor = demo(library)
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    runner, batch = Runner(predictor, CPU, "fp32"), predictor.preprocess([image])
    ours, ours_sent = counted(lambda: runner.model(batch))
    theirs, theirs_sent = counted(CALLS[library](predictor, image))
    assert dict(ours - theirs) == EXTRA[library]
    assert dict(theirs - ours) == LESS[library]
    assert {name for name in ours - theirs if name in WAITING} == ({"is_nonzero"} if library == "mmdet" else set())

    height, width = 288, 384  # what 240 x 320 is resized to
    resized = {"torchvision": 4 * 3 * height * width}.get(library, 3 * height * width)  # float32, or uint8
    assert ours_sent == resized
    # torchvision sends the image as it was, and resizes it on the device.
    assert theirs_sent == {"torchvision": 4 * 3 * 240 * 320}.get(library, resized)


def test_gaps_among_the_classes_make_the_device_wait_once() -> None:
    """The published weights of torchvision have gaps, which the library's own call leaves in."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    from adapters.torchvision.predictor import TorchvisionPredictor

    predictor = TorchvisionPredictor(Settings(CPU, None, None, 0.0, 20), "demo", min_size=96, max_size=128)
    assert predictor.has_gaps
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    runner, batch = Runner(predictor, CPU, "fp32"), predictor.preprocess([image])
    ours, _ = counted(lambda: runner.model(batch))
    theirs, _ = counted(torchvision_call(predictor, image))
    assert (ours - theirs)["nonzero"] == 1
    assert "index.Tensor by booleans" not in ours - theirs
