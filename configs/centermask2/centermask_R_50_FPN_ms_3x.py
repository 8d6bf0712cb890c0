# CenterMask2 R-50, 3x, multi-scale training
# No result was published
_base_ = [
    '../_base_/models/centermask2_r50_fpn.py',
    '../_base_/datasets/coco_centermask2.py',
    '../_base_/schedules/centermask2_3x.py',
    '../_base_/default_runtime_iter.py',
]
