# CenterMask MobileNetV2, 3x, multi-scale training
# Published on val2017: mask AP 31.2, box AP 35.5
_base_ = [
    '../_base_/models/centermask_mv2_fpn.py',
    '../_base_/datasets/coco_centermask_ms.py',
    '../_base_/schedules/centermask_3x.py',
    '../_base_/default_runtime_iter.py',
]

# as published, without mask scoring
model = dict(roi_head=dict(mask_iou_head=None))
