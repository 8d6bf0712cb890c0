# CenterMask2 R-101 with a semantic branch, 3x, multi-scale training
# Published on val2017: PQ 43.6, mask AP 39.0, box AP 43.5
_base_ = [
    '../_base_/models/centermask2_r101_fpn.py',
    '../_base_/models/centermask2_panoptic.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/centermask2_3x.py',
    '../_base_/default_runtime_iter.py',
]

model = dict(
    **_base_.centermask2_panoptic,
    neck=dict(in_channels=[256, 512, 1024, 2048], num_outs=6),
)
