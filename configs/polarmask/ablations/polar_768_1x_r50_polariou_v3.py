# Polar IoU loss v3: squared rays
_base_ = '../4gpu/polar_768_1x_r50.py'

model = dict(bbox_head=dict(loss_mask=dict(variant='v3')))
