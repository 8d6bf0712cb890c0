# Ray targets by intersection with the contour instead of the published one-degree bins: no holes
# for small objects. Not in the paper; a better representation, measured in docs/polarmask.md
_base_ = '../4gpu/polar_768_1x_r50.py'

model = dict(bbox_head=dict(ray_mode='exact'))
