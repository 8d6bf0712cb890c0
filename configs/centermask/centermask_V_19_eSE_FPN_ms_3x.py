# CenterMask V2-19, 3x, multi-scale training
# Published on val2017: mask AP 34.7, box AP 39.7
_base_ = [
    '../_base_/models/centermask_v19_fpn.py',
    '../_base_/datasets/coco_centermask_ms.py',
    '../_base_/schedules/centermask_3x.py',
    '../_base_/default_runtime_iter.py',
]

# as published, without mask scoring
model = dict(roi_head=dict(mask_iou_head=None))
