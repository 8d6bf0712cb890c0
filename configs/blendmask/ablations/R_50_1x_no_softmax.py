# Bases are summed with the attention as it is, without softmax over the bases
_base_ = '../R_50_1x.py'

model = dict(blender=dict(softmax=False))
