# Masks of R x R = 28 x 28 pixels instead of 56 x 56
_base_ = '../R_50_1x.py'

model = dict(blender=dict(resolution=28))
