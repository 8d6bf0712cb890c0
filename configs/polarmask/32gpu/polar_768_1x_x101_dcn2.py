# PolarMask X-101-64x4d with deformable convolutions, 1x, 32 GPUs. Published mask AP 34.9
_base_ = ['./polar_768_1x_x101.py', '../../_base_/models/polar_dcn.py']

model = _base_.polar_dcn
optim_wrapper = _base_.polar_dcn_optim_wrapper
