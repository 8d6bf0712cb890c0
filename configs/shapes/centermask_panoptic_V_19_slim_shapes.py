# Panoptic CenterMask-Lite on five kinds of synthetic shapes on five kinds of stuff
# (docs/panoptic.md)
_base_ = [
    '../_base_/models/centermask_panoptic_V_19_slim_small.py',
    '../_base_/datasets/shapes_panoptic.py',
    '../_base_/schedules/adamw_scratch.py',
    '../_base_/default_runtime.py',
]

model = dict(
    bbox_head=dict(num_classes=5),
    roi_head=dict(mask_head=dict(num_classes=5), mask_iou_head=dict(num_classes=5)),
    semantic_head=dict(num_stuff_classes=5),
    panoptic_fusion=dict(num_things_classes=5),
)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=3, max_keep_ckpts=1))
randomness = dict(seed=0)
