# CenterMask-Lite R-50, 4x, multi-scale training
# Published on test-dev: mask AP 32.9, box AP 36.7
_base_ = [
    '../_base_/models/centermask_r50_fpn.py',
    '../_base_/models/centermask_lite.py',
    '../_base_/datasets/coco_centermask_lite.py',
    '../_base_/schedules/centermask_4x.py',
    '../_base_/default_runtime_iter.py',
]

model = _base_.centermask_lite
