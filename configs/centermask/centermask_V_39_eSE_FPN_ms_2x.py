# CenterMask V2-39, 2x, multi-scale training
# Published on val2017: mask AP 37.7, box AP 42.6
_base_ = [
    '../_base_/models/centermask_v39_fpn.py',
    '../_base_/datasets/coco_centermask_ms.py',
    '../_base_/schedules/centermask_2x.py',
    '../_base_/default_runtime_iter.py',
]
