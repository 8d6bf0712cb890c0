# Panoptic BlendMask R-101, 3x
# Published on val2017: PQ 44.3, PQ of things 51.6, of stuff 33.2
_base_ = [
    '../../_base_/models/blendmask_panoptic_r101_fpn.py',
    '../../_base_/datasets/coco_panoptic_blendmask.py',
    '../../_base_/schedules/blendmask_3x.py',
    '../../_base_/default_runtime_iter.py',
]
