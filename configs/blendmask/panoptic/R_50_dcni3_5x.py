# Panoptic BlendMask R-50 with deformable convolutions in every third block, 5x
_base_ = [
    '../../_base_/models/blendmask_panoptic_r50_fpn.py',
    '../../_base_/models/blendmask_dcni3.py',
    '../../_base_/datasets/coco_panoptic_blendmask_crop.py',
    '../../_base_/schedules/blendmask_5x.py',
    '../../_base_/default_runtime_iter.py',
]

model = _base_.blendmask_dcni3
