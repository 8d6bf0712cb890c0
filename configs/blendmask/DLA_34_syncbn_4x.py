# BlendMask-RT DLA-34, 4x
# Published on val2017: mask AP 36.3, box AP 40.8
_base_ = [
    '../_base_/models/blendmask_dla34_fpn.py',
    '../_base_/datasets/coco_blendmask_rt.py',
    '../_base_/schedules/blendmask_4x.py',
    '../_base_/default_runtime_iter.py',
]
