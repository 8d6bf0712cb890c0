# Every location inside a box is a candidate
_base_ = '../centermask_R_50_FPN_ms_3x.py'

model = dict(bbox_head=dict(assigner=dict(sampling_center=None)))
