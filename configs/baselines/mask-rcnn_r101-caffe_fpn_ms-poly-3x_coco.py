# Mask R-CNN R-101, 36 epochs, as mmdet has it.
# On val2017 CenterMask's authors report 38.0 mask AP, 42.4 box AP for theirs, BlendMask's 38.6 and
# 42.9
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r101-caffe_fpn_ms-poly-3x_coco.py'
