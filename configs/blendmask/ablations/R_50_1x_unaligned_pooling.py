# Bases are pooled without the shift by half a pixel
_base_ = '../R_50_1x.py'

model = dict(blender=dict(pooler=dict(aligned=False)))
