# Mask R-CNN R-50, 12 epochs, as mmdet has it.
# BlendMask's authors report 35.2 mask AP, 38.6 box AP on val2017 for theirs
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50-caffe_fpn_ms-poly-1x_coco.py'
