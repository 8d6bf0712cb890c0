# 270,000 iterations
_base_ = './centermask_1x.py'

param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=270000, milestones=[210000, 250000]),
]
train_cfg = dict(max_iters=270000)
