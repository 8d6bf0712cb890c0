# Bases from C3 and C5 of the backbone instead of the feature pyramid
_base_ = '../R_50_1x.py'

model = dict(
    bases_from='backbone',
    basis_module=dict(in_channels=[512, 2048], in_indices=(0, 2)),
)
