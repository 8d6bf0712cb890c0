# 360,000 iterations
_base_ = './blendmask_3x.py'

param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=360000, milestones=[300000, 340000]),
]
train_cfg = dict(max_iters=360000)
