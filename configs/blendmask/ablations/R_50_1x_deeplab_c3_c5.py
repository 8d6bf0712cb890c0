# Bases by the decoder of DeepLabV3+ from C3 and C5 of the backbone
_base_ = '../R_50_1x.py'

model = dict(
    bases_from='backbone',
    basis_module=dict(type='DeepLabBasis', in_channels=[512, 2048], in_indices=(0, 2)),
)
