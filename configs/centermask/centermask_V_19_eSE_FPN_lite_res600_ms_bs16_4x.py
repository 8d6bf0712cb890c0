# CenterMask-Lite V2-19, 4x, multi-scale training
# Published on test-dev: mask AP 32.4, box AP 35.9
_base_ = [
    '../_base_/models/centermask_v19_fpn.py',
    '../_base_/models/centermask_lite.py',
    '../_base_/datasets/coco_centermask_lite.py',
    '../_base_/schedules/centermask_4x.py',
    '../_base_/default_runtime_iter.py',
]

model = _base_.centermask_lite
