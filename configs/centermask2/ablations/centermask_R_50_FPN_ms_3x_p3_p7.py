# Regions are pooled from P3 to P7 instead of P3 to P5, which is also k_max of the level rule
_base_ = '../centermask_R_50_FPN_ms_3x.py'

model = dict(roi_head=dict(mask_roi_extractor=dict(featmap_strides=[8, 16, 32, 64, 128])))
