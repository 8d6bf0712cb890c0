# BlendMask-RT R-50, 4x
# Published on val2017: mask AP 35.1, box AP 39.3
_base_ = [
    '../_base_/models/blendmask_rt_r50_fpn.py',
    '../_base_/datasets/coco_blendmask_rt.py',
    '../_base_/schedules/blendmask_4x.py',
    '../_base_/default_runtime_iter.py',
]
