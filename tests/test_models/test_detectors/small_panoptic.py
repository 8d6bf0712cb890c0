"""Small BlendMask and CenterMask with a semantic branch, and batches for them."""

import small_blendmask
import small_centermask
import torch
from ellipses import SIZE
from mmengine.structures import PixelData
from small_blendmask import CHANNELS, batch_with_maps, initialised

from polarseg.structures import join_labels

THINGS, STUFF = 3, 4
SYSTEMS = {'BlendMask': small_blendmask, 'CenterMask': small_centermask}


def build(system, fusion=True, semantic=True, **options):
    """The model; keywords beyond are those of the fusion."""
    config = SYSTEMS[system].config()
    config['data_preprocessor'] = dict(
        type='PanopticDataPreprocessor', mean=[127.5] * 3, std=[64.0] * 3, pad_size_divisor=32
    )
    config['backbone'].update(out_indices=(0, 1, 2, 3))
    config['neck'].update(in_channels=[64, 128, 256, 512], num_outs=4)
    if system == 'BlendMask':
        config['basis_module'].update(in_indices=(1, 2, 3))
    if semantic:
        config['semantic_head'] = dict(
            type='SemSegFPNHead',
            num_stuff_classes=STUFF,
            in_channels=CHANNELS,
            inner_channels=16,
            norm_cfg=dict(type='GN', num_groups=4),
        )
    if fusion:
        config['panoptic_fusion'] = dict(
            dict(type='PanopticFusion', num_things_classes=THINGS, instance_score_thr=0.0),
            **dict(overlap_thr=0.6, stuff_area_limit=64) | options,
        )
    return initialised(config)


def batch_with_stuff(ground_truth, sizes=None):
    """A batch with joined label maps: stripes of stuff behind the things, a corner unlabelled."""
    batch = batch_with_maps(ground_truth, sizes)
    stripes = torch.arange(SIZE)[:, None] // (SIZE // STUFF) + 1
    for sample in batch['data_samples']:
        things = sample.gt_sem_seg.sem_seg[0]
        height, width = things.shape
        semantic = stripes.expand(SIZE, SIZE)[:height, :width].clone()
        semantic[things > 0] = 0
        semantic[:20, :20] = 255
        joined = join_labels(things.numpy(), semantic.numpy())
        sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(joined)[None])
    return batch
