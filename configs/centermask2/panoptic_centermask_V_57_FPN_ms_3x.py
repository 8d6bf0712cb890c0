# CenterMask2 V2-57 with a semantic branch, 3x, multi-scale training
# Published on val2017: PQ 44.5, mask AP 39.6, box AP 43.9
_base_ = [
    '../_base_/models/centermask2_v57_fpn.py',
    '../_base_/models/centermask2_panoptic.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/centermask2_3x.py',
    '../_base_/default_runtime_iter.py',
]

model = dict(
    **_base_.centermask2_panoptic,
    neck=dict(in_channels=[256, 512, 768, 1024], num_outs=6),
)
