# 2 convolutions before the bases are enlarged instead of 3
_base_ = '../R_50_1x.py'

model = dict(basis_module=dict(num_convs=2))
