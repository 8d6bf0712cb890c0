# BlendMask-550 R-50 with deformable convolutions in every third block; 3x, whatever its name says
# No result was published
_base_ = [
    '../_base_/models/blendmask_550_r50_fpn.py',
    '../_base_/models/blendmask_dcni3.py',
    '../_base_/datasets/coco_blendmask_550_crop.py',
    '../_base_/schedules/blendmask_3x.py',
    '../_base_/default_runtime_iter.py',
]

model = _base_.blendmask_dcni3
