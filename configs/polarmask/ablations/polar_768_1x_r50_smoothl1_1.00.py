# Smooth-L1 on the rays, weight 1.00. The paper's ablation: 20.2, Polar IoU 27.7
_base_ = '../4gpu/polar_768_1x_r50.py'

model = dict(
    bbox_head=dict(loss_mask=dict(_delete_=True, type='RaySmoothL1Loss', loss_weight=1.00))
)
