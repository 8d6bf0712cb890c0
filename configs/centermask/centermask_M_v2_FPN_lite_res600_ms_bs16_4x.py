# CenterMask-Lite MobileNetV2, 4x, multi-scale training
# Published on test-dev: mask AP 26.7, box AP 30.2
_base_ = [
    '../_base_/models/centermask_mv2_fpn.py',
    '../_base_/models/centermask_lite.py',
    '../_base_/datasets/coco_centermask_lite.py',
    '../_base_/schedules/centermask_4x.py',
    '../_base_/default_runtime_iter.py',
]

model = _base_.centermask_lite
# as published, without mask scoring
model['roi_head']['mask_iou_head'] = None
