import os

import pytest
from mmengine.config import Config

from polarseg.apis import config as config_module
from polarseg.apis.config import (
    apply_inclusive_boxes,
    draw_predictions,
    enable_amp,
    enable_lr_scaling,
    prepare_config,
    set_evaluation,
    set_randomness,
    set_resume,
)

TEXT = """
data_root = 'data/coco/'
inclusive_boxes = True
dataset = dict(type='D', data_root=data_root, ann_file='annotations/a.json')
train_dataloader = dict(batch_size=2, dataset=dict(
    type='Concat', datasets=[dataset, dict(type='Other', data_root='data/lvis/')]))
val_dataloader = dict(dataset=dict(type='D', data_root='data/coco', data_prefix=dict(
    img='val2017/', whole=data_root + 'val2017/')))
val_evaluator = [dict(type='CocoMetric', ann_file=data_root + 'annotations/a.json', metric='segm'),
                 dict(type='Other', ann_file='data/coco2/a.json')]
test_evaluator = dict(type='CocoMetric', ann_file=data_root + 'annotations/a.json')
model = dict(head=dict(inclusive_boxes=True, parts=[dict(inclusive_boxes=True), (
    dict(deep=dict(inclusive_boxes=True)),)]), neck=dict(type='FPN'))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(visualization=dict(type='DetVisualizationHook'))
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / 'net_1x.py'
    file.write_text(TEXT)
    return file


def _config(**content):
    return Config(content)


def test_defaults(path):
    cfg = prepare_config(path)
    assert cfg.work_dir == 'work_dirs/net_1x'
    assert cfg.launcher == 'none'
    assert cfg.data_root == 'data/coco/'
    assert cfg.train_dataloader.dataset.datasets[0].data_root == 'data/coco/'


def test_options_reach_the_config(path):
    options = {'train_dataloader.batch_size': 4, 'model.neck.num_outs': 3, 'work_dir': 'there'}
    cfg = prepare_config(path, cfg_options=options, launcher='slurm')
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.model.neck == dict(type='FPN', num_outs=3)
    assert cfg.work_dir == 'there'
    assert cfg.launcher == 'slurm'
    assert prepare_config(path, work_dir='here', cfg_options=options).work_dir == 'here'


@pytest.mark.parametrize('new', ['/mnt/coco', '/mnt/coco/'])
def test_data_root_reaches_datasets_and_evaluators(path, new):
    cfg = prepare_config(path, cfg_options={'data_root': new})
    first, other = cfg.train_dataloader.dataset.datasets
    assert (first.data_root, first.ann_file) == (new, 'annotations/a.json')
    assert other.data_root == 'data/lvis/'
    assert cfg.val_dataloader.dataset.data_root == new
    assert cfg.val_dataloader.dataset.data_prefix == dict(
        img='val2017/', whole='/mnt/coco/val2017/'
    )
    assert cfg.val_evaluator[0].ann_file == '/mnt/coco/annotations/a.json'
    assert cfg.val_evaluator[1].ann_file == 'data/coco2/a.json'
    assert cfg.test_evaluator.ann_file == '/mnt/coco/annotations/a.json'


def test_paths_given_by_hand_win_over_data_root(path):
    options = {'data_root': '/mnt/coco', 'test_evaluator.ann_file': '/mine/b.json'}
    cfg = prepare_config(path, cfg_options=options)
    assert cfg.test_evaluator.ann_file == '/mine/b.json'


def test_data_root_without_one_in_the_config(tmp_path):
    file = tmp_path / 'plain.py'
    file.write_text("model = dict(type='A')")
    with pytest.raises(KeyError, match=r'plain\.py has no top-level data_root'):
        prepare_config(file, cfg_options={'data_root': '/x'})


def test_missing_config_is_named():
    with pytest.raises(FileNotFoundError, match=r'nowhere/net\.py'):
        prepare_config('nowhere/net.py')


@pytest.mark.parametrize('value', [True, False])
def test_inclusive_boxes_reach_every_component_that_has_the_key(path, value):
    cfg = prepare_config(path, cfg_options={'inclusive_boxes': value})
    head = cfg.model.head
    flags = [
        head.inclusive_boxes,
        head.parts[0].inclusive_boxes,
        head.parts[1][0].deep.inclusive_boxes,
    ]
    assert flags == [value] * 3
    assert 'inclusive_boxes' not in cfg.model.neck
    assert cfg.inclusive_boxes is value
    assert cfg.pretty_text.count(f'inclusive_boxes={value}') == 3


def test_inclusive_boxes_without_the_switch_or_with_nonsense():
    cfg = _config(model=dict(inclusive_boxes=True))
    apply_inclusive_boxes(cfg)
    assert cfg.model.inclusive_boxes is True
    with pytest.raises(TypeError, match="inclusive_boxes must be True or False, got 'no'"):
        apply_inclusive_boxes(_config(inclusive_boxes='no'))


def test_amp_on_cpu_and_gpu(monkeypatch):
    for device, expected in (
        ('cpu', dict(type='polarseg.CpuAmpOptimWrapper', clip_grad=1)),
        ('cuda', dict(type='AmpOptimWrapper', loss_scale='dynamic', clip_grad=1)),
    ):
        monkeypatch.setattr(config_module, 'get_device', lambda device=device: device)
        cfg = _config(optim_wrapper=dict(type='OptimWrapper', clip_grad=1))
        enable_amp(cfg)
        assert cfg.optim_wrapper == expected
    cfg = _config(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale=512.0))
    enable_amp(cfg)
    assert cfg.optim_wrapper.loss_scale == 512.0


def test_amp_refuses_what_it_cannot_change():
    with pytest.raises(KeyError, match='no optim_wrapper'):
        enable_amp(_config(model=dict()))
    with pytest.raises(ValueError, match='ApexOptimWrapper'):
        enable_amp(_config(optim_wrapper=dict(type='ApexOptimWrapper')))


def test_lr_scaling():
    cfg = _config(auto_scale_lr=dict(base_batch_size=16))
    enable_lr_scaling(cfg)
    assert cfg.auto_scale_lr == dict(base_batch_size=16, enable=True)
    with pytest.raises(KeyError, match='base_batch_size'):
        enable_lr_scaling(_config(auto_scale_lr=dict(enable=False)))


def test_randomness(monkeypatch):
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    cfg = _config(randomness=dict(seed=3, diff_rank_seed=True))
    set_randomness(cfg)
    assert cfg.randomness == dict(seed=3, diff_rank_seed=True)
    set_randomness(cfg, seed=0)
    assert cfg.randomness == dict(seed=0, diff_rank_seed=True)
    assert 'CUBLAS_WORKSPACE_CONFIG' not in os.environ
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':16:8')
    cfg = _config()
    set_randomness(cfg, deterministic=True)
    assert cfg.randomness == dict(seed=None, deterministic=True)
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':16:8'
    cfg = _config()
    set_randomness(cfg)
    assert 'randomness' not in cfg


def test_resume(tmp_path):
    cfg = _config(work_dir=str(tmp_path), load_from='pretrained.pth', resume=False)
    set_resume(cfg, None)
    assert (cfg.resume, cfg.load_from) == (False, 'pretrained.pth')
    set_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (False, 'pretrained.pth')
    (tmp_path / 'epoch_1.pth').touch()
    (tmp_path / 'epoch_2.pth').touch()
    set_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / 'epoch_2.pth'))
    set_resume(cfg, str(tmp_path / 'epoch_1.pth'))
    assert cfg.load_from == str(tmp_path / 'epoch_1.pth')
    set_resume(cfg, str(tmp_path / 'latest.pth'))
    assert cfg.load_from == str(tmp_path / 'epoch_2.pth')
    with pytest.raises(FileNotFoundError, match=r'epoch_9\.pth'):
        set_resume(cfg, str(tmp_path / 'epoch_9.pth'))


def test_evaluation(path, tmp_path):
    cfg = prepare_config(path, work_dir=str(tmp_path / 'run'))
    before = cfg.test_evaluator.copy()
    set_evaluation(cfg)
    assert cfg.test_evaluator == before
    set_evaluation(cfg, ['bbox', 'segm'], outfile_prefix=str(tmp_path / 'out/pred.json'))
    assert cfg.test_evaluator.metric == ['bbox', 'segm']
    assert cfg.test_evaluator.outfile_prefix == str(tmp_path / 'out/pred')
    assert (tmp_path / 'out').is_dir()
    assert 'format_only' not in cfg.test_evaluator
    cfg = prepare_config(path, work_dir=str(tmp_path / 'run'))
    set_evaluation(cfg, format_only=True)
    assert cfg.test_evaluator.format_only is True
    assert cfg.test_evaluator.outfile_prefix == str(tmp_path / 'run/results')


def test_evaluation_of_several_metrics():
    cfg = _config(
        test_evaluator=[dict(type='DumpX'), dict(type='a.LVISMetric'), dict(type='M', metric='x')]
    )
    set_evaluation(cfg, ['segm'])
    assert [m.get('metric') for m in cfg.test_evaluator] == [None, ['segm'], ['segm']]
    with pytest.raises(ValueError, match=r"no test_evaluator takes metric: .*\['DumpX'\]"):
        set_evaluation(_config(test_evaluator=[dict(type='DumpX')]), ['segm'])
    with pytest.raises(ValueError, match='no test_evaluator'):
        set_evaluation(_config(), ['segm'])


def test_evaluation_of_panoptic_quality(tmp_path):
    metrics = [dict(type='polarseg.CocoPanopticQualityMetric'), dict(type='CocoInstanceMetric')]
    cfg = _config(test_evaluator=metrics)
    set_evaluation(cfg, ['segm'], format_only=True, outfile_prefix=str(tmp_path / 'out'))
    files = dict(format_only=True, outfile_prefix=str(tmp_path / 'out'))
    assert cfg.test_evaluator[0] == dict(metrics[0], **files)
    assert cfg.test_evaluator[1] == dict(metrics[1], metric=['segm'], **files)
    # it has nothing to choose from
    with pytest.raises(ValueError, match='no test_evaluator takes metric'):
        set_evaluation(_config(test_evaluator=metrics[:1]), ['segm'])
    alone = _config(test_evaluator=metrics[0])
    set_evaluation(alone, outfile_prefix=str(tmp_path / 'out'))
    assert alone.test_evaluator.outfile_prefix == str(tmp_path / 'out')


def test_drawing(path):
    cfg = prepare_config(path)
    draw_predictions(cfg)
    assert 'draw' not in cfg.default_hooks.visualization
    draw_predictions(cfg, show_dir='drawn')
    hook = cfg.default_hooks.visualization
    assert (hook.draw, hook.test_out_dir, hook.get('show')) == (True, 'drawn', None)
    draw_predictions(cfg, show=True, wait_time=0.5)
    assert (hook.show, hook.wait_time) == (True, 0.5)
    with pytest.raises(KeyError, match='visualization'):
        draw_predictions(_config(default_hooks=dict()), show=True)
