# Mask R-CNN R-50, 24 epochs, as mmdet has it.
# CenterMask's authors report 35.9 mask AP, 39.7 box AP on val2017 for theirs
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50-caffe_fpn_ms-poly-2x_coco.py'
