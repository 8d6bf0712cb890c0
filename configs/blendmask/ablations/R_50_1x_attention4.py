# Attention of M x M = 4 x 4 instead of 14 x 14
_base_ = '../R_50_1x.py'

model = dict(bbox_head=dict(top_channels=4 * 4**2), blender=dict(attention_size=4))
