# CenterMask V2-99, 3x, multi-scale training
# Published on val2017: mask AP 40.2, box AP 45.6
_base_ = [
    '../_base_/models/centermask_v99_fpn.py',
    '../_base_/datasets/coco_centermask_ms.py',
    '../_base_/schedules/centermask_3x.py',
    '../_base_/default_runtime_iter.py',
]
