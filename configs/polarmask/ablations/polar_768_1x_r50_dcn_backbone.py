# Deformable convolutions in the backbone only
_base_ = ['../4gpu/polar_768_1x_r50.py', '../../_base_/models/polar_dcn.py']

model = dict(backbone=_base_.polar_dcn['backbone'])
