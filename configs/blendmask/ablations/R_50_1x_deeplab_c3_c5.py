# Bases by the decoder of DeepLabV3+ from C3 and C5 of the backbone
_base_ = './R_50_1x_deeplab_p3_p5.py'

model = dict(bases_from='backbone', basis_module=dict(in_channels=[512, 2048]))
