# 400,000 iterations
_base_ = './blendmask_3x.py'

param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=400000, milestones=[280000, 360000]),
]
train_cfg = dict(max_iters=400000, val_interval=20000)
