# Box loss 1 - IoU instead of GIoU
_base_ = '../centermask_R_50_FPN_ms_3x.py'

model = dict(bbox_head=dict(loss_bbox=dict(mode='linear_iou')))
