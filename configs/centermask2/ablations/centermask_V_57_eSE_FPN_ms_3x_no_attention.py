# V1-57 with identity, without attention
# It starts from the weights of V2 as far as they fit; the paper trains each on ImageNet.
_base_ = '../centermask_V_57_eSE_FPN_ms_3x.py'

model = dict(backbone=dict(attention=None))
