# No box branch; boxes are the polygons' extremes. The paper's ablation: 27.5 against 27.7
_base_ = '../4gpu/polar_768_1x_r50.py'

model = dict(bbox_head=dict(with_bbox=False))
