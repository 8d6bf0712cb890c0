# The attention comes from the class tower instead of the box tower
_base_ = '../R_50_1x.py'

model = dict(bbox_head=dict(top_on_reg=False))
