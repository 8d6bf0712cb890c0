# mmdet's own box geometry instead of the published +1 convention
_base_ = '../4gpu/polar_768_1x_r50.py'

inclusive_boxes = False
