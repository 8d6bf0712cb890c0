# mmdet's Panoptic FPN on VoVNetV2-19-slim from scratch: the Mask R-CNN of the small comparisons and
# a semantic branch as wide as published. All but sizes is as in mmdet's configs for COCO.
_base_ = ['./mask-rcnn_V_19_slim_small.py', './small_panoptic.py']

model = dict(
    type='polarseg.PanopticFPN',
    data_preprocessor=dict(pad_seg=True, seg_pad_value=255),
    semantic_head=dict(
        type='PanopticFPNHead',
        num_things_classes=80,
        num_stuff_classes=53,
        in_channels=128,
        inner_channels=128,
        start_level=0,
        end_level=4,
        norm_cfg=dict(type='GN', num_groups=32, requires_grad=True),
        loss_seg=dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.5),
    ),
    panoptic_fusion_head=dict(
        type='HeuristicFusionHead', num_things_classes=80, num_stuff_classes=53
    ),
    test_cfg=dict(
        panoptic=dict(
            instance_score_thr=0.6,
            nms=dict(type='nms', iou_threshold=0.5),
            mask_overlap=0.5,
            stuff_area_limit=_base_.small_stuff_area_limit,
        ),
    ),
)
