# CenterMask2 X-101-32x8d with a semantic branch, 3x, multi-scale training
# No result was published
_base_ = [
    '../_base_/models/centermask2_x101_32x8d_fpn.py',
    '../_base_/models/centermask2_panoptic.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/centermask2_3x.py',
    '../_base_/default_runtime_iter.py',
]

model = dict(
    **_base_.centermask2_panoptic,
    neck=dict(in_channels=[256, 512, 1024, 2048], num_outs=6),
)
