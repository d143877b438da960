"""A small network of every family of the transformers adapter, untrained, with class scores that lie far apart."""

from __future__ import annotations

from typing import Any

import torch

from adapters.transformers import predictor as adapter
from bench.predictor import Checkpoint, Settings

CPU = torch.device("cpu")
SWIN = {"embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4]}
RESNET = {"layer_type": "basic", "depths": [1, 1, 1, 1], "embedding_size": 16, "hidden_sizes": [16, 32, 64, 128]}
DETR = {
    "d_model": 64,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "num_queries": 15,
}
EOMT = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "num_blocks": 2, "num_queries": 15}
EDGES = {"shortest_edge": 96, "longest_edge": 128}
SMALL: dict[str, tuple[type[adapter.TransformersPredictor], dict[str, Any]]] = {
    "maskformer": (
        adapter.MaskFormerPredictor,
        {
            "backbone": SWIN,
            "network": {"fpn_feature_size": 32, "mask_feature_size": 32},
            "decoder": {**DETR, "d_model": 32},
            **EDGES,
        },
    ),
    "oneformer": (
        adapter.OneFormerPredictor,
        {
            "backbone": SWIN,
            "network": {
                "num_queries": 15,
                "conv_dim": 32,
                "mask_dim": 32,
                "hidden_dim": 32,
                "encoder_feedforward_dim": 64,
                "encoder_layers": 1,
                "decoder_layers": 3,
                "dim_feedforward": 64,
            },
            **EDGES,
        },
    ),
    "eomt": (adapter.EomtPredictor, {"network": EOMT, "shortest_edge": 128, "longest_edge": 128}),
    "eomt_dinov3": (
        adapter.EomtDinov3Predictor,
        {"network": {**EOMT, "intermediate_size": 64}, "shortest_edge": 128, "longest_edge": 128},
    ),
    "rf_detr": (
        adapter.RfDetrPredictor,
        {
            "backbone": {
                "hidden_size": 32,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
                "patch_size": 12,
                "num_windows": 2,
                "image_size": 96,
                "out_features": ["stage2", "stage3"],
            },
            "network": {
                "d_model": 32,
                "num_queries": 15,
                "decoder_layers": 2,
                "decoder_ffn_dim": 64,
                "decoder_cross_attention_heads": 4,
                "decoder_self_attention_heads": 4,
                "intermediate_size": 64,
                "group_detr": 2,
                "c2f_num_blocks": 1,
            },
            "shortest_edge": 96,
            "longest_edge": 96,
        },
    ),
    "conditional_detr": (adapter.ConditionalDetrPredictor, {"backbone": RESNET, "network": DETR, **EDGES}),
    "detr": (adapter.DetrPredictor, {"backbone": RESNET, "network": DETR, **EDGES}),
}
"""The class and its options, by the family's name."""

CLASS_HEADS = {
    "maskformer": "class_predictor",
    "oneformer": "model.transformer_module.decoder.class_embed",
    "eomt": "class_predictor",
    "eomt_dinov3": "class_predictor",
    "rf_detr": "model.class_embed",
    "conditional_detr": "conditional_detr.class_labels_classifier",
    "detr": "detr.class_labels_classifier",
}
"""The layer that gives the class logits."""


def class_head(predictor: adapter.TransformersPredictor, name: str) -> torch.nn.Linear:
    head = predictor.module.get_submodule(CLASS_HEADS[name])
    assert isinstance(head, torch.nn.Linear)
    return head


def small(
    name: str,
    classes: tuple[str, ...],
    checkpoint: Checkpoint | None = None,
    most: int = 100,
    score_threshold: float | None = None,
    **changes: Any,
) -> adapter.TransformersPredictor:
    """Give the family's small network, seeded."""
    cls, options = SMALL[name]
    torch.manual_seed(0)
    settings = Settings(CPU, checkpoint, classes, score_threshold, most)
    predictor = cls(settings, **(options | changes))
    if checkpoint is None:
        # An untrained network scores many pairs nearly alike, and gives nearly the same mask for every query.
        torch.nn.init.normal_(class_head(predictor, name).weight, std=1.0)
        torch.nn.init.normal_(class_head(predictor, name).bias, std=1.0)
        if name == "maskformer":
            for parameter in predictor.module.get_submodule("mask_embedder").parameters():
                torch.nn.init.normal_(parameter, std=1.0)
    return predictor
