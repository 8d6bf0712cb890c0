# BlendMask R-101, 3x
# Published on val2017: mask AP 39.5, box AP 44.8
_base_ = [
    '../_base_/models/blendmask_r101_fpn.py',
    '../_base_/datasets/coco_blendmask.py',
    '../_base_/schedules/blendmask_3x.py',
    '../_base_/default_runtime_iter.py',
]
