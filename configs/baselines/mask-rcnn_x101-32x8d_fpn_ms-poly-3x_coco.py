# Mask R-CNN X-101-32x8d, 36 epochs, as mmdet has it.
# CenterMask's authors report 38.6 mask AP, 43.6 box AP on val2017 for theirs
_base_ = 'mmdet::mask_rcnn/mask-rcnn_x101-32x8d_fpn_ms-poly-3x_coco.py'
