"""The panoptic configs of BlendMask and CenterMask2 have the published settings."""

from pathlib import Path

import mmdet
import pytest
from config_tools import without_pretrained
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from polarseg.apis import prepare_config
from polarseg.datasets import CocoPanopticInstanceDataset
from polarseg.registry import MODELS

FOLDER = Path(__file__).resolve().parents[2] / 'configs'
STEPS = {
    '1x': (90000, [60000, 80000], 10000),
    '3x': (270000, [210000, 250000], 10000),
    '5x': (400000, [280000, 360000], 20000),
}
CHOICE = ([640, 672, 704, 736, 768, 800], 1333)
# score, overlap
BLENDMASK, CENTERMASK2 = (0.45, 0.4), (0.5, 0.5)

# config: the instance config with the same network but for P2, training sizes, schedule, thresholds
TABLE = {
    'R_50_1x': ('R_50_1x', CHOICE, '1x', BLENDMASK),
    'R_50_3x': ('R_50_3x', CHOICE, '3x', BLENDMASK),
    # the thresholds in the text of the appendix
    'R_50_3x_appendix': ('R_50_3x', CHOICE, '3x', (0.2, 0.4)),
    'R_101_3x': ('R_101_3x', CHOICE, '3x', BLENDMASK),
    'R_50_dcni3_5x': ('550_R_50_dcni3_5x', ([640, 864], 1440), '5x', BLENDMASK),
    'R_101_dcni3_5x': ('R_101_dcni3_5x', ([640, 864], 1333), '5x', BLENDMASK),
}
TABLE = {
    f'blendmask/panoptic/{name}': (f'blendmask/{row[0]}', *row[1:]) for name, row in TABLE.items()
}
for _name, _instances in (
    ('R_50', 'R_50'),
    ('R_101', 'R_101'),
    ('X_101', 'X_101'),
    ('V_39', 'V_39_eSE'),
    ('V_57', 'V_57_eSE'),
    ('V_99', 'V_99_eSE'),
):
    TABLE[f'centermask2/panoptic_centermask_{_name}_FPN_ms_3x'] = (
        f'centermask2/centermask_{_instances}_FPN_ms_3x', CHOICE, '3x', CENTERMASK2
    )  # fmt: skip


@pytest.fixture(scope='module', params=sorted(TABLE))
def row(request):
    """Name and config of a row of the table, and what it says."""
    return request.param, Config.fromfile(FOLDER / f'{request.param}.py'), TABLE[request.param]


def is_blendmask(name):
    return name.startswith('blendmask')


def step_of(loader, kind):
    (step,) = (step for step in loader.dataset.pipeline if step.type == kind)
    return step


def test_all_published_ones_are_there():
    files = {
        str(path.relative_to(FOLDER).with_suffix(''))
        for pattern in ('blendmask/panoptic/*.py', 'centermask*/panoptic*.py')
        for path in FOLDER.glob(pattern)
    }
    assert files == set(TABLE)


def test_semantic_branch_and_fusion(row):
    _, cfg, (*_, (score, overlap)) = row
    assert cfg.model.semantic_head == dict(
        type='SemSegFPNHead',
        num_stuff_classes=53,
        in_channels=256,
        inner_channels=128,
        start_level=0,
        end_level=4,
        norm_cfg=dict(type='GN', num_groups=32),
        loss_weight=0.5,
    )
    assert cfg.model.panoptic_fusion == dict(
        type='PanopticFusion',
        num_things_classes=80,
        instance_score_thr=score,
        overlap_thr=overlap,
        stuff_area_limit=4096,
    )


def test_network_is_that_of_the_instance_model_with_p2(row):
    name, cfg, (instances, *_) = row
    other = Config.fromfile(FOLDER / f'{instances}.py').model
    neck, backbone = cfg.model.neck, cfg.model.backbone
    assert (neck.in_channels[0], neck.num_outs) == (256, 6)
    assert neck.in_channels[1:] == other.neck.in_channels
    assert tuple(backbone.out_indices) == (0, 1, 2, 3)
    if not instances.startswith('blendmask/550'):
        assert {**neck, 'in_channels': 0, 'num_outs': 0} == {
            **other.neck, 'in_channels': 0, 'num_outs': 0
        }  # fmt: skip
        # the detection head keeps P3 to P7
        assert cfg.model.bbox_head == other.bbox_head
    assert {**backbone, 'out_indices': 0} == {**other.backbone, 'out_indices': 0}
    assert cfg.model.bbox_head.strides == [8, 16, 32, 64, 128]
    assert cfg.model.test_cfg == other.test_cfg
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.type == 'PanopticDataPreprocessor'
    for key in ('mean', 'std', 'bgr_to_rgb', 'pad_size_divisor'):
        assert preprocessor[key] == other.data_preprocessor[key]
    if is_blendmask(name):
        # P3, P4, P5
        assert tuple(cfg.model.basis_module.in_indices) == (1, 2, 3)
        assert cfg.model.basis_module.loss_weight == 0.3
        assert cfg.model.blender == other.blender
    else:
        assert cfg.model.roi_head == other.roi_head
        assert cfg.model.train_cfg == other.train_cfg


def test_sizes(row):
    _, cfg, (_, sizes, *_) = row
    train = step_of(cfg.train_dataloader, 'ShortestEdgeResize')
    assert (train.scales, train.max_size) == sizes
    assert train.get('sampling', 'choice') == ('choice' if sizes is CHOICE else 'range')
    test = step_of(cfg.test_dataloader, 'ShortestEdgeResize')
    assert (test.scales, test.max_size) == ([800], 1333)
    assert train.rounding == test.rounding == 'half_up'
    assert cfg.inclusive_boxes is False
    assert cfg.val_dataloader == cfg.test_dataloader


def test_order_of_the_training_pipeline(row):
    name, cfg, (_, sizes, *_) = row
    cropped = sizes is not CHOICE
    expected = [
        'LoadImageFromFile',
        'LoadPolygonAnnotations',
        *['LoadThingSemantic'] * is_blendmask(name),
        'LoadPanopticLabels',
        *['InstanceAwareCrop'] * cropped,
        'ShortestEdgeResize',
        'RandomFlip',
        *['BoxesFromMasks'] * cropped,
        'BoxesToConvention',
        'PackDetInputs',
    ]
    assert [step.type for step in cfg.train_dataloader.dataset.pipeline] == expected


def test_data(row):
    _, cfg, _ = row
    for part, loader in (('train2017', cfg.train_dataloader), ('val2017', cfg.test_dataloader)):
        dataset = loader.dataset
        assert dataset.type == 'CocoPanopticInstanceDataset'
        assert dataset.data_root == 'data/coco/'
        assert dataset.ann_file == f'annotations/instances_{part}.json'
        assert dataset.panoptic_file == f'annotations/panoptic_{part}.json'
        assert dataset.data_prefix == dict(img=f'{part}/', panoptic=f'annotations/panoptic_{part}/')
    assert cfg.train_dataloader.dataset.filter_cfg == dict(filter_empty_gt=True)
    quality, instances = cfg.test_evaluator
    assert quality.type == 'CocoPanopticQualityMetric'
    assert quality.ann_file == 'data/coco/annotations/panoptic_val2017.json'
    assert quality.seg_prefix == 'data/coco/annotations/panoptic_val2017/'
    assert (instances.type, instances.metric) == ('CocoInstanceMetric', ['bbox', 'segm'])
    assert not instances.inclusive_boxes


def test_one_option_moves_all_files(row):
    cfg = prepare_config(FOLDER / f'{row[0]}.py', cfg_options=dict(data_root='/elsewhere/'))
    quality, instances = cfg.test_evaluator
    assert quality.ann_file == '/elsewhere/annotations/panoptic_val2017.json'
    assert quality.seg_prefix == '/elsewhere/annotations/panoptic_val2017/'
    assert instances.ann_file == '/elsewhere/annotations/instances_val2017.json'
    assert cfg.train_dataloader.dataset.data_root == '/elsewhere/'


def test_schedule(row):
    name, cfg, (_, _, schedule, _) = row
    end, steps, interval = STEPS[schedule]
    warm_up, multi_step = cfg.param_scheduler
    assert (multi_step.milestones, multi_step.end, cfg.train_cfg.max_iters) == (steps, end, end)
    assert (warm_up.type, warm_up.start_factor, warm_up.end) == ('LinearLR', 0.001, 1001)
    if is_blendmask(name):
        assert cfg.train_cfg.val_interval == interval
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('SGD', 0.01)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 0.0001)
    assert cfg.auto_scale_lr.base_batch_size == 8 * cfg.train_dataloader.batch_size == 16


def test_classes_of_coco():
    """80 things, and stuff by category id: 92 banner to 184 tree, then 185 fence to 200 rug."""
    meta = CocoPanopticInstanceDataset.METAINFO
    stuff = meta['stuff_classes']
    assert (len(meta['classes']), len(stuff)) == (80, 53)
    named = {0: 'banner', 1: 'blanket', 36: 'tree-merged', 37: 'fence-merged', 52: 'rug-merged'}
    assert {place: stuff[place] for place in named} == named


@pytest.mark.parametrize(
    'name', ['blendmask/panoptic/R_50_1x', 'centermask2/panoptic_centermask_R_50_FPN_ms_3x']
)
def test_the_branch_learns_like_the_rest(name):
    """Base rate; decay of the convolutions, not of the norms."""
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    model = MODELS.build(without_pretrained(cfg.model.to_dict()))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    name_of = {id(parameter): name for name, parameter in model.semantic_head.named_parameters()}
    found = {
        name_of[id(parameter)]: (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups
        for parameter in group['params']
        if id(parameter) in name_of
    }
    assert len(found) == len(name_of) == 23
    for parameter, settings in found.items():
        assert settings == pytest.approx((0.01, 0 if '.gn.' in parameter else 1e-4)), parameter


# -- Panoptic FPN beside them ----------------------------------------------------------------


def without_scope(node):
    """A section of an inherited config as it stands in mmdet's file."""
    if isinstance(node, dict):
        return {key: without_scope(value) for key, value in node.items() if key != '_scope_'}
    return [without_scope(item) for item in node] if isinstance(node, (list, tuple)) else node


@pytest.mark.parametrize('depth', [50, 101])
def test_panoptic_fpn_is_mmdets(depth):
    """But for what would need panopticapi, and what is fused being a part of the results."""
    name = f'panoptic-fpn_r{depth}_fpn_ms-3x_coco.py'
    theirs = Path(mmdet.__file__).parent / '.mim/configs/panoptic_fpn' / name
    ours, theirs = (
        without_scope(Config.fromfile(file).to_dict())
        for file in (FOLDER / 'baselines' / name, theirs)
    )
    assert ours['model']['backbone']['depth'] == depth
    test_cfg = ours['model'].pop('test_cfg')
    rcnn = theirs['model'].pop('test_cfg')['rcnn']
    fusion = test_cfg['panoptic']
    assert fusion['instance_score_thr'] == rcnn['score_thr']
    assert dict(fusion['nms'], class_agnostic=True) == rcnn['nms']
    assert (fusion['mask_overlap'], fusion['stuff_area_limit']) == (0.5, 4096)
    # the instances of mmdet's Mask R-CNN
    assert test_cfg['rcnn'].pop('nms') == dict(rcnn.pop('nms'), class_agnostic=False)
    assert test_cfg['rcnn'] == dict(rcnn, score_thr=0.05)
    assert ours['model'].pop('type') == f'polarseg.{theirs["model"].pop("type")}'
    for key in ('model', 'param_scheduler', 'train_cfg', 'optim_wrapper'):
        assert ours[key] == theirs[key]
    mine, other = (cfg['train_dataloader']['dataset']['pipeline'] for cfg in (ours, theirs))
    assert mine[1].pop('type') == f'polarseg.{other[1].pop("type")}'
    assert mine == other
    for part in ('train', 'val', 'test'):
        dataset, other = (cfg[f'{part}_dataloader']['dataset'] for cfg in (ours, theirs))
        assert dataset.pop('type') == f'polarseg.{other.pop("type")}'
        assert {**dataset, 'pipeline': 0} == {**other, 'pipeline': 0}
    pipeline = ours['test_dataloader']['dataset']['pipeline']
    assert [step['type'] for step in pipeline] == ['LoadImageFromFile', 'Resize', 'PackDetInputs']
    assert ours['val_dataloader'] == ours['test_dataloader']
    for part in ('val_evaluator', 'test_evaluator'):
        quality, instances = ours[part]
        assert quality['type'] == 'polarseg.CocoPanopticQualityMetric'
        for key in ('ann_file', 'seg_prefix'):
            assert quality[key] == theirs[part][key]
        assert (instances['type'], instances['metric']) == (
            'polarseg.CocoInstanceMetric', ['bbox', 'segm']
        )  # fmt: skip
        assert instances['ann_file'] == quality['ann_file'].replace('panoptic', 'instances')


@pytest.mark.parametrize('name', ['blendmask_panoptic', 'centermask_panoptic', 'panoptic-fpn'])
def test_small_models_are_compared_on_equal_terms(name):
    """Backbone, pyramid, semantic branch, smallest stuff, data and schedule."""
    cfg = Config.fromfile(FOLDER / f'shapes/{name}_V_19_slim_shapes.py')
    other = Config.fromfile(FOLDER / 'shapes/blendmask_V_19_slim_shapes.py')
    assert cfg.model.backbone.arch == 'V-19-slim'
    assert tuple(cfg.model.backbone.out_indices) == (0, 1, 2, 3)
    assert (cfg.model.neck.in_channels, cfg.model.neck.out_channels) == ([112, 256, 384, 512], 128)
    head = cfg.model.semantic_head
    assert (head.in_channels, head.inner_channels, head.num_stuff_classes) == (128, 128, 5)
    fusion = cfg.model.get('panoptic_fusion') or cfg.model.test_cfg.panoptic
    # 4,096 of 640 x 480
    assert fusion.stuff_area_limit == 16384 * 4096 // (640 * 480) == 218
    for key in ('param_scheduler', 'train_cfg', 'optim_wrapper', 'randomness'):
        assert cfg[key] == other[key]
    assert cfg.train_dataloader.batch_size == 8
    assert cfg.data_root == 'data/shapes_panoptic/'
