# CenterMask2 R-101, 3x, multi-scale training
# No result was published
_base_ = [
    '../_base_/models/centermask2_r101_fpn.py',
    '../_base_/datasets/coco_centermask2.py',
    '../_base_/schedules/centermask2_3x.py',
    '../_base_/default_runtime_iter.py',
]
