# 32 GPUs, 128 pictures: "1x" is 12 epochs and 2 more to make up for the longer warm-up
_base_ = './polar_1x.py'

optim_wrapper = dict(optimizer=dict(lr=0.08))
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0 / 24, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=14, milestones=[10, 13], gamma=0.1),
]
train_cfg = dict(max_epochs=14)
auto_scale_lr = dict(base_batch_size=128)
