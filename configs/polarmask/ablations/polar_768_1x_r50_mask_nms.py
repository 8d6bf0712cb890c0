# NMS on, and results with, the polygons' extremes in place of the box branch (as the paper says)
_base_ = '../4gpu/polar_768_1x_r50.py'

model = dict(bbox_head=dict(mask_nms=True))
