# Ordinary (box) centerness. The paper's ablation: 27.7, polar centerness 29.1
_base_ = '../4gpu/polar_768_1x_r50.py'

model = dict(bbox_head=dict(centerness_type='box'))
