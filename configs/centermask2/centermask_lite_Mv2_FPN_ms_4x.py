# CenterMask2-Lite MobileNetV2, 4x, multi-scale training
# Published on val2017: mask AP 27.2, box AP 29.8
_base_ = [
    '../_base_/models/centermask2_mv2_fpn.py',
    '../_base_/models/centermask_lite.py',
    '../_base_/datasets/coco_centermask2_lite.py',
    '../_base_/schedules/centermask2_4x.py',
    '../_base_/default_runtime_iter.py',
]

model = _base_.centermask_lite
