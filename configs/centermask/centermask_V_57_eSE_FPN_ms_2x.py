# CenterMask V2-57, 2x, multi-scale training
# Published on val2017: mask AP 38.5, box AP 43.8
_base_ = [
    '../_base_/models/centermask_v57_fpn.py',
    '../_base_/datasets/coco_centermask_ms.py',
    '../_base_/schedules/centermask_2x.py',
    '../_base_/default_runtime_iter.py',
]
