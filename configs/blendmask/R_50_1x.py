# BlendMask R-50, 1x
# Published on val2017: mask AP 35.8, box AP 39.9
_base_ = [
    '../_base_/models/blendmask_r50_fpn.py',
    '../_base_/datasets/coco_blendmask.py',
    '../_base_/schedules/blendmask_1x.py',
    '../_base_/default_runtime_iter.py',
]
