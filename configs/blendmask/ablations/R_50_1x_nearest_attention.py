# The attention is enlarged by its nearest value instead of bilinearly
_base_ = '../R_50_1x.py'

model = dict(blender=dict(top_interp='nearest'))
