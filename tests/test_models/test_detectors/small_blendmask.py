"""A small BlendMask and batches for it."""

import torch
from ellipses import batch_of
from mmengine.structures import PixelData

from polarseg.registry import MODELS

CHANNELS = 32
NMS = dict(type='nms', iou_threshold=0.6)
LOSSES = {'loss_cls', 'loss_bbox', 'loss_centerness', 'loss_mask', 'loss_basis_sem'}
# kind of bottom module, whose feature maps it sees, their channels
BASES = {
    'published': ('ProtoNet', 'neck', CHANNELS),
    'of the backbone': ('ProtoNet', 'backbone', [128, 256, 512]),
    'DeepLab': ('DeepLabBasis', 'neck', CHANNELS),
    'DeepLab of the backbone': ('DeepLabBasis', 'backbone', [128, 512]),
}


def config(
    bases='published',
    score_thr=1e-2,
    top_channels=2 * 7 * 7,
    num_bases=2,
    norm='BN',
    inclusive_boxes=False,
    **basis_module,
):
    """The model's; keywords beyond are those of the bottom module."""
    kind, bases_from, channels = BASES[bases]
    return dict(
        type='BlendMask',
        data_preprocessor=dict(
            type='DetDataPreprocessor',
            mean=[127.5] * 3,
            std=[64.0] * 3,
            pad_size_divisor=32,
            pad_seg=True,
            seg_pad_value=0,
        ),
        backbone=dict(type='ResNet', depth=18, out_indices=(1, 2, 3), norm_cfg=dict(type=norm)),
        neck=dict(type='FPN', in_channels=[128, 256, 512], out_channels=CHANNELS, num_outs=3),
        bbox_head=dict(
            type='BlendMaskHead',
            num_classes=3,
            in_channels=CHANNELS,
            feat_channels=CHANNELS,
            stacked_convs=1,
            strides=(8, 16, 32),
            top_channels=top_channels,
            use_scale=False,
            inclusive_boxes=inclusive_boxes,
            assigner=dict(regress_ranges=[(-1, 32), (32, 64), (64, 1e8)]),
        ),
        basis_module=dict(
            dict(type=kind, in_channels=channels, channels=16, num_convs=1, num_bases=num_bases),
            **dict(num_classes=3, norm_cfg=dict(type=norm)) | basis_module,
        ),
        blender=dict(type='Blender', num_bases=2, attention_size=7, resolution=28),
        bases_from=bases_from,
        test_cfg=dict(
            score_thr=score_thr,
            thresh_with_ctr=True,
            sqrt_scores=True,
            nms=NMS,
            max_per_img=20,
            keep_ties=True,
        ),
    )


def build(*args, **options):
    """The model; arguments as for its config."""
    return initialised(config(*args, **options))


def initialised(config):
    """The model of a config, with weights that find something."""
    model = MODELS.build(config)
    model.init_weights()
    # so that ReLU distances do not start dead
    torch.nn.init.constant_(model.bbox_head.conv_reg.bias, 1.0)
    torch.nn.init.constant_(model.bbox_head.conv_cls.bias, -3.0)
    return model


def batch_with_maps(ground_truth, sizes=None):
    """A batch with label maps of things."""
    batch = batch_of(ground_truth, sizes)
    for sample, instances in zip(batch['data_samples'], ground_truth):
        labels = torch.zeros(1, *sample.img_shape, dtype=torch.uint8)
        for mask, label in zip(instances.masks.to_ndarray(), instances.labels.tolist()):
            height, width = sample.img_shape
            labels[0][torch.from_numpy(mask[:height, :width]) > 0] = label + 1
        sample.gt_sem_seg = PixelData(sem_seg=labels)
    return batch
