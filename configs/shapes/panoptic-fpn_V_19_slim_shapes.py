# mmdet's Panoptic FPN on five kinds of synthetic shapes on five kinds of stuff (docs/panoptic.md)
_base_ = [
    '../_base_/models/panoptic-fpn_V_19_slim_small.py',
    '../_base_/datasets/shapes_panoptic_segments.py',
    '../_base_/schedules/adamw_scratch.py',
    '../_base_/default_runtime.py',
]

_classes = dict(num_things_classes=5, num_stuff_classes=5)
model = dict(
    roi_head=dict(bbox_head=dict(num_classes=5), mask_head=dict(num_classes=5)),
    semantic_head=_classes,
    panoptic_fusion_head=_classes,
)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=3, max_keep_ckpts=1))
randomness = dict(seed=0)
