# Mask R-CNN R-50 as mmdet has it
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
