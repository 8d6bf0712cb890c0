# CenterMask2 R-50 with a semantic branch, 3x, multi-scale training
# Published on val2017: PQ 42.0, mask AP 37.3, box AP 41.4
_base_ = [
    '../_base_/models/centermask2_r50_fpn.py',
    '../_base_/models/centermask2_panoptic.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/centermask2_3x.py',
    '../_base_/default_runtime_iter.py',
]

model = dict(
    **_base_.centermask2_panoptic,
    neck=dict(in_channels=[256, 512, 1024, 2048], num_outs=6),
)
