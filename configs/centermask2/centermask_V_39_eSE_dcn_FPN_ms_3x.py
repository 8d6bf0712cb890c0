# CenterMask2 V2-39 with deformable convolutions, 3x, multi-scale training
# Published on val2017: mask AP 40.3, box AP 45.1
_base_ = ['./centermask_V_39_eSE_FPN_ms_3x.py', '../_base_/models/centermask_dcn.py']

model = _base_.centermask_dcn
