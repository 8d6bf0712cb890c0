# Bases are pooled by the mean of 2 x 2 samples of each bin instead of one at its centre
_base_ = '../R_50_1x.py'

model = dict(blender=dict(pooler=dict(sampling_ratio=2)))
