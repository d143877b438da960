"""mmdet's full-size models made narrow: changes to the ``model`` of the config that each names, for random weights."""

from __future__ import annotations

from typing import Any

R50 = {
    "backbone": {"base_channels": 8, "stem_channels": 8},
    "neck": {"in_channels": [32, 64, 128, 256], "out_channels": 32},
}
HEADS = {
    **R50,
    "rpn_head": {"in_channels": 32, "feat_channels": 32},
    "roi_head": {
        "bbox_roi_extractor": {"out_channels": 32},
        "bbox_head": {"in_channels": 32, "fc_out_channels": 32},
        "mask_roi_extractor": {"out_channels": 32},
        "mask_head": {"in_channels": 32, "conv_out_channels": 32},
    },
    "test_cfg": {"rpn": {"nms_pre": 40, "max_per_img": 40}},
}
DECODER = {
    "feat_channels": 32,
    "out_channels": 32,
    "num_queries": 10,
    "pixel_decoder": {
        "encoder": {
            "num_layers": 1,
            "layer_cfg": {
                "self_attn_cfg": {"embed_dims": 32},
                "ffn_cfg": {"embed_dims": 32, "feedforward_channels": 64},
            },
        },
        "positional_encoding": {"num_feats": 16},
    },
    "positional_encoding": {"num_feats": 16},
    "transformer_decoder": {
        "num_layers": 2,
        "layer_cfg": {
            "self_attn_cfg": {"embed_dims": 32},
            "cross_attn_cfg": {"embed_dims": 32},
            "ffn_cfg": {"embed_dims": 32, "feedforward_channels": 64},
        },
    },
}
KERNELS = {"in_channels": 32, "feat_channels": 32, "stacked_convs": 1}
FEATURES = {"mask_feature_head": {"feat_channels": 32, "out_channels": 32, "norm_cfg": {"num_groups": 8}}}
SPREAD = {"type": "Normal", "layer": ["Conv2d", "Linear"], "std": 0.03, "bias": 0.1}
"""Initial weights with which neither all scores are alike nor all of them 1."""

STAGES = ("0", "1", "2")
CASCADE = {
    **HEADS,
    "roi_head": {**HEADS["roi_head"], "bbox_head": dict.fromkeys(STAGES, HEADS["roi_head"]["bbox_head"])},
}
SEMANTIC = {
    "semantic_roi_extractor": {"out_channels": 32},
    "semantic_head": {"num_convs": 1, "in_channels": 32, "conv_out_channels": 32},
}
DYNAMIC = {"dynamic_conv_cfg": {"in_channels": 32, "feat_channels": 8, "out_channels": 32}}
QUERIES = {
    **R50,
    "rpn_head": {"proposal_feature_channel": 32},
    "roi_head": {
        "proposal_feature_channel": 32,
        "bbox_roi_extractor": {"out_channels": 32},
        "mask_roi_extractor": {"out_channels": 32},
        "bbox_head": {
            str(stage): {"in_channels": 32, "feedforward_channels": 64, "num_reg_fcs": 1, **DYNAMIC}
            for stage in range(6)
        },
        "mask_head": {
            str(stage): {"in_channels": 32, "conv_out_channels": 32, "num_convs": 1, **DYNAMIC} for stage in range(6)
        },
    },
}
RTMDET = {
    "backbone": {"deepen_factor": 0.167, "widen_factor": 0.125},
    "neck": {"in_channels": [32, 64, 128], "out_channels": 32, "num_csp_blocks": 1},
    "bbox_head": {"in_channels": 32, "feat_channels": 32, "stacked_convs": 1},
}
SWIN = {"backbone": {"embed_dims": 24}, "panoptic_head": {**DECODER, "in_channels": [24, 48, 96, 192]}}
LARGER_SWIN = {**SWIN, "backbone": {"embed_dims": 24, "depths": [2, 2, 2, 2], "num_heads": [3, 6, 12, 24]}}
NARROW: dict[str, Any] = {
    "mask_rcnn_r50_mmdet": HEADS,
    "mask_rcnn_r101_mmdet": HEADS,
    "point_rend_r50_mmdet": {
        **HEADS,
        "roi_head": {
            **HEADS["roi_head"],
            "mask_head": {"in_channels": 32, "conv_out_channels": 32, "fc_out_channels": 32},
            "point_head": {"in_channels": 32, "fc_channels": 32},
        },
    },
    "solo_r50_mmdet": {**R50, "mask_head": KERNELS},
    "solov2_r50_mmdet": {**R50, "mask_head": {**KERNELS, **FEATURES}},
    "solov2_light_r50_mmdet": {**R50, "mask_head": {**KERNELS, **FEATURES}},
    "mask2former_r50_mmdet": {
        "backbone": R50["backbone"],
        "panoptic_head": {**DECODER, "in_channels": R50["neck"]["in_channels"]},
    },
    "mask2former_swin_t_mmdet": SWIN,
    "rtmdet_ins_tiny_mmdet": RTMDET,
    "rtmdet_ins_s_mmdet": RTMDET,
    "rtmdet_ins_m_mmdet": RTMDET,
    "rtmdet_ins_l_mmdet": RTMDET,
    "rtmdet_ins_x_mmdet": RTMDET,
    "condinst_r50_mmdet": {
        **R50,
        "bbox_head": {"in_channels": 32, "feat_channels": 32, "stacked_convs": 1},
        "mask_head": {"mask_feature_head": {"in_channels": 32, "feat_channels": 16, "num_stacked_convs": 1}},
    },
    "queryinst_r50_mmdet": QUERIES,
    "cascade_mask_rcnn_r50_mmdet": CASCADE,
    "cascade_mask_rcnn_r101_mmdet": CASCADE,
    "htc_r50_mmdet": {
        **CASCADE,
        "roi_head": {
            **CASCADE["roi_head"],
            **SEMANTIC,
            "mask_head": dict.fromkeys(STAGES, HEADS["roi_head"]["mask_head"]),
        },
    },
    "yolact_r50_mmdet": {
        **R50,
        "bbox_head": {"in_channels": 32, "feat_channels": 32, "init_cfg": {**SPREAD, "std": 0.03, "bias": 0.0}},
        "mask_head": {"in_channels": 32, "proto_channels": [32, 32, 32, None, 32, 32]},
    },
    "ms_rcnn_r50_mmdet": {
        **HEADS,
        "roi_head": {
            **HEADS["roi_head"],
            "mask_iou_head": {
                "num_convs": 1,
                "in_channels": 32,
                "conv_out_channels": 32,
                "fc_out_channels": 32,
                "init_cfg": SPREAD,
            },
        },
    },
    "solov2_r101_dcn_mmdet": {**R50, "mask_head": {**KERNELS, **FEATURES}},
    "solov2_light_r18_mmdet": {
        "backbone": R50["backbone"],
        "neck": {"in_channels": [8, 16, 32, 64], "out_channels": 32},
        "mask_head": {**KERNELS, **FEATURES},
    },
    "mask2former_swin_s_mmdet": LARGER_SWIN,
    "mask2former_swin_b_mmdet": LARGER_SWIN,
    "mask2former_swin_l_mmdet": LARGER_SWIN,
}

SQUARE_ONLY = ("yolact_r50_mmdet",)
"""Those that stretch every image to a square."""
