# YOLACT R-50 as mmdet has it
_base_ = 'mmdet::yolact/yolact_r50_1xb8-55e_coco.py'
