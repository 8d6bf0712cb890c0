# BlendMask R-50, 1x, for persons, from the weights of COCO
# Published on the validation pictures of PIC: mask AP 66.7, box AP 70.6
_base_ = [
    '../../_base_/models/blendmask_r50_fpn.py',
    '../../_base_/datasets/pic_person.py',
    '../../_base_/schedules/blendmask_1x.py',
    '../../_base_/default_runtime_iter.py',
]

model = dict(bbox_head=dict(num_classes=1), basis_module=dict(num_classes=1))

# The published weights of R_50_3x (or those of one's own run of it):
#   python tools/model_converters/from_published.py FILE pretrained/blendmask_R_50_3x.pth \
#       --config configs/blendmask/R_50_3x.py
# The predictors of 80 classes do not fit and start anew.
load_from = 'pretrained/blendmask_R_50_3x.pth'
