# Panoptic BlendMask with ResNet-50: a pyramid from P2 on, a semantic branch, and the fusion
_base_ = ['./blendmask_r50_fpn.py', './semantic_fpn.py']

model = dict(
    data_preprocessor=dict(
        _delete_=True,
        type='PanopticDataPreprocessor',
        mean=[103.530, 116.280, 123.675],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
        pad_size_divisor=32,
    ),
    backbone=dict(out_indices=(0, 1, 2, 3)),
    # P2 to P7; the detection head has the last five
    neck=dict(in_channels=[256, 512, 1024, 2048], num_outs=6),
    # P3, P4, P5 of these
    basis_module=dict(in_indices=(1, 2, 3)),
    semantic_head=_base_.semantic_fpn,
    panoptic_fusion=dict(
        type='PanopticFusion',
        num_things_classes=80,
        # of the released models, on the root of p x centerness; the paper's appendix has 0.2,
        # about the same if it means the product
        instance_score_thr=0.45,
        overlap_thr=0.4,
        stuff_area_limit=4096,
    ),
)
