# PolarMask R-101 with deformable convolutions, 1x, 32 GPUs. Published mask AP 33.5
_base_ = ['./polar_768_1x_r101.py', '../../_base_/models/polar_dcn.py']

model = _base_.polar_dcn
optim_wrapper = _base_.polar_dcn_optim_wrapper
