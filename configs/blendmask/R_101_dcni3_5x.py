# BlendMask R-101 with deformable convolutions in every third block, 5x
# Published on val2017: mask AP 41.1, box AP 46.8
_base_ = [
    '../_base_/models/blendmask_r101_fpn.py',
    '../_base_/models/blendmask_dcni3.py',
    '../_base_/datasets/coco_blendmask_crop.py',
    '../_base_/schedules/blendmask_5x.py',
    '../_base_/default_runtime_iter.py',
]

model = _base_.blendmask_dcni3
