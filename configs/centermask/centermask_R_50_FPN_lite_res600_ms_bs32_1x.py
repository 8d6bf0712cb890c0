# CenterMask-Lite R-50, 90,000 iterations with 32 pictures at the same learning rate
# No result was published
_base_ = './centermask_R_50_FPN_lite_res600_ms_bs16_4x.py'

param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=90000, milestones=[60000, 80000]),
]
train_cfg = dict(max_iters=90000)
# 4 pictures on each of 8 GPUs
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=32)
