# Masks are ranked by the score of their box
_base_ = '../centermask_R_50_FPN_ms_3x.py'

model = dict(roi_head=dict(mask_iou_head=None))
