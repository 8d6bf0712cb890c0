# CenterMask2-Lite V2-19, 4x, multi-scale training
# Published on val2017: mask AP 32.8, box AP 35.9
_base_ = [
    '../_base_/models/centermask2_v19_fpn.py',
    '../_base_/models/centermask_lite.py',
    '../_base_/datasets/coco_centermask2_lite.py',
    '../_base_/schedules/centermask2_4x.py',
    '../_base_/default_runtime_iter.py',
]

model = _base_.centermask_lite
