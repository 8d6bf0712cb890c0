# CenterMask2 V2-57 with deformable convolutions, 3x, multi-scale training
# Published on val2017: mask AP 40.9, box AP 45.5
_base_ = ['./centermask_V_57_eSE_FPN_ms_3x.py', '../_base_/models/centermask_dcn.py']

model = _base_.centermask_dcn
