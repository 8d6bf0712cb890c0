# BlendMask R-50, 3x
# Published on val2017: mask AP 37.8, box AP 42.7
_base_ = [
    '../_base_/models/blendmask_r50_fpn.py',
    '../_base_/datasets/coco_blendmask.py',
    '../_base_/schedules/blendmask_3x.py',
    '../_base_/default_runtime_iter.py',
]
