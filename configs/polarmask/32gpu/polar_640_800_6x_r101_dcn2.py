# PolarMask R-101, 6x, with modulated deformable convolutions in the backbone too. The published
# file misspells its backbone's type and does not build; no result was published.
_base_ = './polar_640_800_2x_r101_dcn2.py'

model = dict(backbone=dict(dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False)))

param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=74, milestones=[50, 68], gamma=0.1),
]
train_cfg = dict(max_epochs=74)
