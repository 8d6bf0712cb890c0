# Panoptic BlendMask on the synthetic set for as long as Panoptic FPN needs for its 11 epochs
# (docs/panoptic.md)
_base_ = './blendmask_panoptic_V_19_slim_shapes.py'

max_epochs = 17
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_epochs)]
train_cfg = dict(max_epochs=max_epochs)
