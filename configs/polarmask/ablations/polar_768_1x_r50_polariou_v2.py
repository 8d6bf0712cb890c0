# Polar IoU loss v2: the mean of the logarithms of the rays
_base_ = '../4gpu/polar_768_1x_r50.py'

model = dict(bbox_head=dict(loss_mask=dict(variant='v2')))
