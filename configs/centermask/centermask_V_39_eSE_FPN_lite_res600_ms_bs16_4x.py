# CenterMask-Lite V2-39, 4x, multi-scale training
# Published on test-dev: mask AP 36.3, box AP 40.7
_base_ = [
    '../_base_/models/centermask_v39_fpn.py',
    '../_base_/models/centermask_lite.py',
    '../_base_/datasets/coco_centermask_lite.py',
    '../_base_/schedules/centermask_4x.py',
    '../_base_/default_runtime_iter.py',
]

model = _base_.centermask_lite
