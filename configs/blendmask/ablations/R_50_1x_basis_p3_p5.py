# Bases from P3 and P5, without P4
_base_ = '../R_50_1x.py'

model = dict(basis_module=dict(in_indices=(0, 2)))
