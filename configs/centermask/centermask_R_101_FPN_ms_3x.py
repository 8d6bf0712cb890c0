# CenterMask R-101, 3x, multi-scale training
# Published on val2017: mask AP 38.6, box AP 43.7
_base_ = [
    '../_base_/models/centermask_r101_fpn.py',
    '../_base_/datasets/coco_centermask_ms.py',
    '../_base_/schedules/centermask_3x.py',
    '../_base_/default_runtime_iter.py',
]
