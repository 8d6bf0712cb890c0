# 32 GPUs with one picture each; "2x" is 24 epochs and 2 more
_base_ = './polar_1x.py'

optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0 / 6, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=26, milestones=[18, 24], gamma=0.1),
]
train_cfg = dict(max_epochs=26)
auto_scale_lr = dict(base_batch_size=32)
