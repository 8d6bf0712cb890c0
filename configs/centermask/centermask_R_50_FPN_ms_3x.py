# CenterMask R-50, 3x, multi-scale training
# Published on val2017: mask AP 37.0, box AP 41.7
_base_ = [
    '../_base_/models/centermask_r50_fpn.py',
    '../_base_/datasets/coco_centermask_ms.py',
    '../_base_/schedules/centermask_3x.py',
    '../_base_/default_runtime_iter.py',
]
