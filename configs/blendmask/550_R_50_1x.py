# BlendMask-550 R-50, 1x
# No result was published
_base_ = [
    '../_base_/models/blendmask_550_r50_fpn.py',
    '../_base_/datasets/coco_blendmask_550.py',
    '../_base_/schedules/blendmask_1x.py',
    '../_base_/default_runtime_iter.py',
]
