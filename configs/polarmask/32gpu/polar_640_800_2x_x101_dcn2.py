# PolarMask X-101-64x4d with deformable convolutions, 2x, multi-scale, 32 GPUs.
# Published mask AP 35.9
_base_ = ['./polar_640_800_2x_x101.py', '../../_base_/models/polar_dcn.py']

model = _base_.polar_dcn
optim_wrapper = _base_.polar_dcn_optim_wrapper
