# Deformable convolutions in the backbone only
_base_ = ['../4gpu/polar_768_1x_r50.py', '../../_base_/models/polar_dcn.py']

model = dict(backbone=_base_.polar_dcn['backbone'])
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'conv_offset.bias': dict(lr_mult=2.0, decay_mult=0.0)})
)
