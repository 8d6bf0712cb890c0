# R / K / M = 28 / 4 / 2 instead of 56 / 4 / 14
_base_ = '../R_50_1x.py'

model = dict(
    bbox_head=dict(top_channels=4 * 2**2),
    blender=dict(attention_size=2, resolution=28),
)
