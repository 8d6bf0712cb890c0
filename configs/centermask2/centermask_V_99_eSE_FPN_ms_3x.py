# CenterMask2 V2-99, 3x, multi-scale training
# Published on val2017: mask AP 41.4, box AP 46.0
_base_ = [
    '../_base_/models/centermask2_v99_fpn.py',
    '../_base_/datasets/coco_centermask2.py',
    '../_base_/schedules/centermask2_3x.py',
    '../_base_/default_runtime_iter.py',
]
