# Panoptic BlendMask R-50, 1x
_base_ = [
    '../../_base_/models/blendmask_panoptic_r50_fpn.py',
    '../../_base_/datasets/coco_panoptic_blendmask.py',
    '../../_base_/schedules/blendmask_1x.py',
    '../../_base_/default_runtime_iter.py',
]
