# 90 rays instead of 36. Not in the paper
_base_ = '../4gpu/polar_768_1x_r50.py'

model = dict(bbox_head=dict(num_rays=90))
