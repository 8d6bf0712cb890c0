_base_ = './adamw_scratch.py'

max_epochs = 36
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_epochs),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=12)
auto_scale_lr = dict(base_batch_size=4)
