# Bases by the decoder of DeepLabV3+ from P3 and P5
_base_ = '../R_50_1x.py'

model = dict(basis_module=dict(type='DeepLabBasis', in_indices=(0, 2), num_convs=1))
