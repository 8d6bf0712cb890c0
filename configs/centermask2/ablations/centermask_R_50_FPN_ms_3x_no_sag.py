# Mask head without spatial attention
_base_ = '../centermask_R_50_FPN_ms_3x.py'

model = dict(roi_head=dict(mask_head=dict(with_attention=False)))
