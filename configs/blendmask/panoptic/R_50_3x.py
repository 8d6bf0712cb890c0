# Panoptic BlendMask R-50, 3x
# Published on val2017: PQ 42.5, PQ of things 49.5, of stuff 32.0
_base_ = [
    '../../_base_/models/blendmask_panoptic_r50_fpn.py',
    '../../_base_/datasets/coco_panoptic_blendmask.py',
    '../../_base_/schedules/blendmask_3x.py',
    '../../_base_/default_runtime_iter.py',
]
