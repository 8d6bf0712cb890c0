# 90,000 iterations
_base_ = './blendmask_3x.py'

param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=90000, milestones=[60000, 80000]),
]
train_cfg = dict(max_iters=90000)
