# 180,000 iterations
_base_ = './centermask_1x.py'

param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=180000, milestones=[120000, 160000]),
]
train_cfg = dict(max_iters=180000)
