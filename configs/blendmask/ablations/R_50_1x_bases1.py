# K = 1 base instead of 4
_base_ = '../R_50_1x.py'

model = dict(
    bbox_head=dict(top_channels=1 * 14**2),
    basis_module=dict(num_bases=1),
    blender=dict(num_bases=1),
)
