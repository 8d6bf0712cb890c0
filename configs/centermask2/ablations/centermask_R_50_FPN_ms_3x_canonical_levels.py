# The pooled level by FPN's rule, from the size of the region alone
_base_ = '../centermask_R_50_FPN_ms_3x.py'

model = dict(roi_head=dict(mask_roi_extractor=dict(level_rule='canonical')))
