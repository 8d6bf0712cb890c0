# V1-57 with eSE, without identity
# It starts from the weights of V2 as far as they fit; the paper trains each on ImageNet.
_base_ = '../centermask_V_57_eSE_FPN_ms_3x.py'

model = dict(backbone=dict(identity=False))
