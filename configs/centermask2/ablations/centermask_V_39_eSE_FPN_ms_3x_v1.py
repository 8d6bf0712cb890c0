# VoVNetV1-39: neither identity nor attention
# It starts from the weights of V2 as far as they fit; the paper trains each on ImageNet.
_base_ = '../centermask_V_39_eSE_FPN_ms_3x.py'

model = dict(backbone=dict(attention=None, identity=False))
