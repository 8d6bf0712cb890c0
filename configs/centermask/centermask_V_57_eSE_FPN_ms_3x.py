# CenterMask V2-57, 3x, multi-scale training
# Published on val2017: mask AP 39.4, box AP 44.6
_base_ = [
    '../_base_/models/centermask_v57_fpn.py',
    '../_base_/datasets/coco_centermask_ms.py',
    '../_base_/schedules/centermask_3x.py',
    '../_base_/default_runtime_iter.py',
]
