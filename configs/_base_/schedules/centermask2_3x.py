# CenterMask2: learning rate 0.01 for 16 pictures, 270,000 iterations
_base_ = './centermask_3x.py'

optim_wrapper = dict(
    # biases are like weights; the norm layers that learn, those of the towers, have no decay
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0)
)
param_scheduler = [
    # linear over 1000 iterations: number 1000, counted from 0, is the first with the full rate
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1001),
    _base_.param_scheduler[1],
]
