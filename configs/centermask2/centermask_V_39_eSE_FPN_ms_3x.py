# CenterMask2 V2-39, 3x, multi-scale training
# Published on val2017: mask AP 39.7, box AP 44.2
_base_ = [
    '../_base_/models/centermask2_v39_fpn.py',
    '../_base_/datasets/coco_centermask2.py',
    '../_base_/schedules/centermask2_3x.py',
    '../_base_/default_runtime_iter.py',
]
