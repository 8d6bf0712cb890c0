# K = 2 bases instead of 4
_base_ = '../R_50_1x.py'

model = dict(
    bbox_head=dict(top_channels=2 * 14**2),
    basis_module=dict(num_bases=2),
    blender=dict(num_bases=2),
)
