"""A CondInst with a few thousand weights and a COCO data set of six pictures, for command lines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from mmdet.visualization import DetLocalVisualizer
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
default_scope = 'polarseg'
data_root = {data_root!r}
norm = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='CondInst',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[128.0] * 3, std=[64.0] * 3, bgr_to_rgb=False,
        pad_mask=True, pad_size_divisor=32),
    backbone=dict(
        type='ResNet', depth=18, base_channels=8, num_stages=4, out_indices=(0, 1, 2, 3),
        norm_cfg=norm, norm_eval=False, style='pytorch'),
    neck=dict(
        type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, start_level=1,
        add_extra_convs='on_output', num_outs=5, relu_before_extra_convs=True),
    bbox_head=dict(
        type='CondInstBboxHead', num_params=169, num_classes=2, in_channels=8, stacked_convs=1,
        feat_channels=8, strides=[8, 16, 32, 64, 128], norm_on_bbox=True,
        norm_cfg=dict(type='GN', num_groups=4), centerness_on_reg=True, center_sampling=True,
        conv_bias=True,
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)),
    mask_head=dict(
        type='CondInstMaskHead', num_layers=3, feat_channels=8, size_of_interest=8,
        mask_out_stride=4, max_masks_to_train=50,
        mask_feature_head=dict(
            in_channels=8, feat_channels=8, start_level=0, end_level=2, out_channels=8,
            mask_stride=8, num_stacked_convs=1, norm_cfg=norm),
        loss_mask=dict(type='DiceLoss', use_sigmoid=True, activate=True, eps=5e-6,
                       loss_weight=1.0)),
    test_cfg=dict(nms_pre=50, min_bbox_size=0, score_thr=0.0,
                  nms=dict(type='nms', iou_threshold=0.6), max_per_img=5, mask_thr=0.5))
dataset = dict(
    type='mmdet.CocoDataset', data_root=data_root, ann_file='annotations.json',
    data_prefix=dict(img='images/'), metainfo=dict(classes=('square', 'disc')))
train_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs')]))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, test_mode=True, pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(96, 64), keep_ratio=True),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='PackDetInputs', meta_keys=(
            'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmdet.CocoMetric', ann_file=data_root + 'annotations.json', metric='bbox')
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.5, by_epoch=False, begin=0, end=4),
    dict(type='MultiStepLR', by_epoch=True, milestones=[1, 2], gamma=0.1)]
auto_scale_lr = dict(enable=False, base_batch_size=16)
default_hooks = dict(
    timer=dict(type='IterTimerHook'), logger=dict(type='LoggerHook', interval=1),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='mmdet.DetVisualizationHook'))
env_cfg = dict(cudnn_benchmark=False, dist_cfg=dict(backend='nccl'))
visualizer = dict(type='mmdet.DetLocalVisualizer', name='visualizer',
                  vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(type='LogProcessor', window_size=1, by_epoch=True)
"""


def write_dataset(folder: Path, count: int = 6) -> Path:
    """``folder`` with images/ and annotations.json: one square and one disc a picture."""
    (folder / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(1, count + 1):
        canvas = np.full((64, 96, 3), 40, np.uint8)
        x, y = (int(v) for v in rng.integers(4, 20, 2))
        cv2.rectangle(canvas, (x, y), (x + 30, y + 30), (200, 40, 40), -1)
        cv2.circle(canvas, (70, 32), 15, (40, 200, 40), -1)
        name = f'{index}.png'
        cv2.imwrite(str(folder / 'images' / name), canvas)
        images.append(dict(id=index, file_name=name, width=96, height=64))
        circle = cv2.ellipse2Poly((70, 32), (15, 15), 0, 0, 360, 30).astype(float)
        square = np.array([[x, y], [x + 31, y], [x + 31, y + 31], [x, y + 31]], float)
        for category, polygon in ((1, square), (2, circle)):
            low, size = polygon.min(0), np.ptp(polygon, axis=0)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=index,
                    category_id=category,
                    bbox=[*low.tolist(), *size.tolist()],
                    area=float(size.prod()),
                    iscrowd=0,
                    segmentation=[polygon.ravel().tolist()],
                )
            )
    categories = [dict(id=1, name='square'), dict(id=2, name='disc')]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'annotations.json').write_text(json.dumps(content))
    return folder


def write_project(folder: Path) -> Path:
    """Data set and config below ``folder``; returns the config's path."""
    data = write_dataset(folder / 'data')
    config = folder / 'tiny.py'
    config.write_text(CONFIG.replace('{data_root!r}', repr(f'{data}/')))
    return config


def environment(**extra: str) -> dict[str, str]:
    """This environment without what a launcher left in it, with our interpreter and sources."""
    launcher = ('SLURM_', 'OMPI_', 'MASTER_', 'TORCHELASTIC_')
    single = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'PORT', 'NNODES', 'NODE_RANK', 'OMP_NUM_THREADS')
    kept = {k: v for k, v in os.environ.items() if not k.startswith(launcher) and k not in single}
    paths = [str(ROOT), kept.get('PYTHONPATH', '')]
    kept['PYTHONPATH'] = os.pathsep.join(path for path in paths if path)
    # Two processes need a GPU each, so these tests stay on the CPU everywhere.
    return {**kept, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '', **extra}


def run(command: list, cwd: Path, expect: int = 0, **extra: str) -> str:
    """Run a command line; returns its output, standard error included."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(**extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode == 0) == (expect == 0), done.stdout
    return done.stdout


def forget_runs() -> None:
    """Drop mmengine's objects of earlier runs of this process, as a new process would.

    It finds loggers, message hubs and visualizers by name, and two runs within a second have the
    same names.
    """
    for kind in (DefaultScope, MMLogger, MessageHub, Visualizer, DetLocalVisualizer):
        kind._instance_dict.clear()
