# Mask R-CNN R-101, 36 epochs, as mmdet has it.
# CenterMask's authors report 38.0 mask AP, 42.4 box AP on val2017 for theirs
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r101-caffe_fpn_ms-poly-3x_coco.py'
