_base_ = './adamw_scratch_nuclei.py'

max_epochs = 4
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_epochs),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
