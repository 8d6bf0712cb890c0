# CenterMask R-50, 2x, multi-scale training
# Published on val2017: mask AP 36.4, box AP 41.2
_base_ = [
    '../_base_/models/centermask_r50_fpn.py',
    '../_base_/datasets/coco_centermask_ms.py',
    '../_base_/schedules/centermask_2x.py',
    '../_base_/default_runtime_iter.py',
]
