# Box distances exp(scale * conv) in pixels, as in the original, instead of relu in strides
_base_ = '../centermask_R_50_FPN_ms_3x.py'

model = dict(bbox_head=dict(norm_on_bbox=False))
