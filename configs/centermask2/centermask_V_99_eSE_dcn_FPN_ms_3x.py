# CenterMask2 V2-99 with deformable convolutions, 3x, multi-scale training
# Published on val2017: mask AP 42.0, box AP 46.9
_base_ = ['./centermask_V_99_eSE_FPN_ms_3x.py', '../_base_/models/centermask_dcn.py']

model = _base_.centermask_dcn
