# Every location inside a box is a candidate
_base_ = '../4gpu/polar_768_1x_r50.py'

model = dict(bbox_head=dict(assigner=dict(sampling_center=None)))
