# BlendMask-550 R-50, 3x
# Published on val2017: mask AP 34.5, box AP 38.7
_base_ = [
    '../_base_/models/blendmask_550_r50_fpn.py',
    '../_base_/datasets/coco_blendmask_550.py',
    '../_base_/schedules/blendmask_3x.py',
    '../_base_/default_runtime_iter.py',
]
