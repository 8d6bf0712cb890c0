# CenterMask2 V2-57, 3x, multi-scale training
# Published on val2017: mask AP 40.5, box AP 45.1
_base_ = [
    '../_base_/models/centermask2_v57_fpn.py',
    '../_base_/datasets/coco_centermask2.py',
    '../_base_/schedules/centermask2_3x.py',
    '../_base_/default_runtime_iter.py',
]
