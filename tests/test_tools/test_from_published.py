"""tools/model_converters/from_published.py as a user calls it."""

import importlib.util
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from published_names import published_vovnet_name
from tiny_detector import ROOT, environment

from polarseg.apis import InstanceInferencer, prepare_config
from polarseg.registry import MODELS

CONFIG = ROOT / 'configs/shapes/polarmask_r18_shapes.py'
TOOL = ROOT / 'tools/model_converters/from_published.py'


def published_checkpoint(seed=0):
    """A file of the legacy layout for CONFIG: fcos_* names, ray 0 to the left."""
    cfg = Config.fromfile(CONFIG)
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    model.init_weights()
    state_dict = {}
    for name, tensor in model.state_dict().items():
        published = name.replace('bbox_head.polar_', 'bbox_head.fcos_')
        if 'fcos_mask' in published:
            tensor = tensor[[(k - 9) % 36 for k in range(36)]]
        state_dict[published] = tensor
    meta = dict(epoch=12, iter=87960, CLASSES=('traffic_light', 'hot_dog', 'star'))
    optimizer = dict(state={}, param_groups=[dict(lr=0.01, params=[0, 1])])
    return dict(meta=meta, state_dict=state_dict, optimizer=optimizer), model


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """(file, the model with our names)."""
    checkpoint, model = published_checkpoint()
    file = tmp_path_factory.mktemp('published') / 'published.pth'
    torch.save(checkpoint, file)
    return file, model


def command(*arguments):
    done = subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)],
        env=environment(OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def tool(monkeypatch, capsys):
    """The command in this process: (exit code, standard output, standard error)."""
    spec = importlib.util.spec_from_file_location('from_published', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        try:
            module.main()
        except SystemExit as end:
            return end.code, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return call


@pytest.fixture(scope='module')
def converted(published, tmp_path_factory):
    """(file, exit code, standard output) of the command for the published file."""
    target = tmp_path_factory.mktemp('converted') / 'new/ours.pth'
    code, out, err = command(published[0], target, '--config', CONFIG)
    assert code == 0, err
    return target, out


def test_success_is_printed(published, converted):
    target, out = converted
    count = len(published[1].state_dict())
    assert f'{published[0]} (polarmask-legacy, {count} tensors) -> {target}' in out


def test_file_holds_the_tensors_and_where_they_are_from(published, converted):
    content = torch.load(converted[0], weights_only=True)
    assert content.keys() == {'meta', 'state_dict'}
    own = published[1].state_dict()
    assert content['state_dict'].keys() == own.keys()
    assert all(torch.equal(content['state_dict'][name], own[name]) for name in own)
    meta = content['meta']
    assert meta['layout'] == 'polarmask-legacy'
    assert 'non-commercial' in meta['licence']
    assert meta['dataset_meta'] == dict(classes=('traffic light', 'hot dog', 'star'))
    assert meta['converted_from'] == 'published.pth'
    assert meta['config'] == CONFIG.name
    assert meta['source_epoch'] == 12


def test_converted_file_predicts_as_the_model_it_came_from(published, converted, tmp_path):
    options = {'model.test_cfg.score_thr': 0.0, 'model.test_cfg.max_per_img': 5}
    cfg = prepare_config(CONFIG, cfg_options=options)
    inferencer = InstanceInferencer(cfg, converted[0], device='cpu')
    assert inferencer.classes == ('traffic light', 'hot dog', 'star')
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    (found,) = inferencer([picture])
    inferencer.model.load_state_dict(published[1].state_dict())
    (expected,) = inferencer([picture])
    assert len(found.instances) == 5
    assert torch.equal(found.instances.bboxes, expected.instances.bboxes)
    assert torch.equal(found.instances.masks.vertices, expected.instances.masks.vertices)


def test_wrong_config_names_every_tensor(published, tmp_path):
    target = tmp_path / 'ours.pth'
    other = '--cfg-options', 'model.bbox_head.num_classes=4', 'model.bbox_head.stacked_convs=1'
    code, out, err = command(published[0], target, '--config', CONFIG, *other)
    assert code == 2
    assert '->' not in out
    assert 'Traceback' not in err
    lines = {line.strip() for line in err.splitlines()}
    assert 'shape of bbox_head.polar_cls.bias: [3] in the file, [4] in the model' in lines
    unexpected = {line for line in lines if line.startswith('unexpected: ')}
    assert unexpected == {
        f'unexpected: bbox_head.{tower}_convs.1.{part}'
        for tower in ('cls', 'reg', 'mask')
        for part in ('conv.weight', 'gn.weight', 'gn.bias')
    }
    assert not target.exists()


class Malicious:
    """A pickle of this makes a folder when it is un-pickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize('as_zip', [True, False], ids=['zip', 'legacy'])
def test_code_in_a_file_is_not_run(tool, tmp_path, as_zip):
    source, trace = tmp_path / 'bad.pth', tmp_path / 'was_run'
    content = dict(state_dict={'a': torch.ones(1)}, meta=Malicious(trace))
    torch.save(content, source, _use_new_zipfile_serialization=as_zip)
    code, out, err = tool(source, tmp_path / 'ours.pth', '--config', CONFIG)
    assert code == 2
    assert out == ''
    assert str(source) in err
    assert 'mkdir' in err
    assert not trace.exists()
    assert not (tmp_path / 'ours.pth').exists()
    # a loader that un-pickles would have run it
    torch.load(source, weights_only=False)
    assert trace.is_dir()


@pytest.mark.parametrize('content', [None, b'just text\n', b''], ids=['missing', 'text', 'empty'])
def test_no_checkpoint(tool, tmp_path, content):
    source = tmp_path / 'source.pth'
    if content is not None:
        source.write_bytes(content)
    code, out, err = tool(source, tmp_path / 'ours.pth', '--config', CONFIG)
    assert (code, out) == (2, '')
    assert err.startswith('error: ')
    assert str(source) in err
    assert ('does not exist' in err) == (content is None)
    assert not (tmp_path / 'ours.pth').exists()


def test_missing_config(tool, published, tmp_path):
    code, _, err = tool(published[0], tmp_path / 'ours.pth', '--config', tmp_path / 'none.py')
    assert code == 2
    assert str(tmp_path / 'none.py') in err


def test_no_layout_fits(tool, tmp_path):
    torch.save(dict(state_dict={'some.weight': torch.ones(1)}), tmp_path / 'other.pth')
    code, _, err = tool(tmp_path / 'other.pth', tmp_path / 'ours.pth', '--config', CONFIG)
    assert code == 2
    assert 'no known layout fits' in err
    assert 'some.weight' in err


def test_layout_by_hand_keeps_the_order_of_rays(tool, published, tmp_path):
    target = tmp_path / 'ours.pth'
    options = '--config', CONFIG, '--layout', 'polarmask-legacy-names'
    code, out, err = tool(published[0], target, *options)
    assert code == 0, err
    assert 'polarmask-legacy-names' in out
    bias = torch.load(published[0], weights_only=True)['state_dict']['bbox_head.fcos_mask.weight']
    content = torch.load(target, weights_only=True)
    assert torch.equal(content['state_dict']['bbox_head.polar_mask.weight'], bias)
    code, _, err = tool(published[0], target, '--config', CONFIG, '--layout', 'nonsense')
    assert code == 2
    assert 'polarmask-legacy-names' in err


def test_the_source_and_folders_are_not_written_to(tool, published, tmp_path):
    before = published[0].read_bytes()
    code, _, err = tool(published[0], published[0], '--config', CONFIG)
    assert code == 2
    assert 'is the source' in err
    assert published[0].read_bytes() == before
    code, _, err = tool(published[0], tmp_path, '--config', CONFIG)
    assert code == 2
    assert f'{tmp_path} is a folder' in err


def test_without_class_names_the_config_gives_them(tool, published, tmp_path):
    content = torch.load(published[0], weights_only=True)
    torch.save(content['state_dict'], tmp_path / 'bare.pth')
    code, _, err = tool(tmp_path / 'bare.pth', tmp_path / 'ours.pth', '--config', CONFIG)
    assert code == 0, err
    assert 'dataset_meta' not in torch.load(tmp_path / 'ours.pth', weights_only=True)['meta']
    inferencer = InstanceInferencer(CONFIG, tmp_path / 'ours.pth', device='cpu')
    assert inferencer.classes == ('ellipse', 'polygon', 'star')


# -- backbones alone -------------------------------------------------------------------------


@pytest.fixture
def vovnet_config(tmp_path):
    """CONFIG with a VoVNet, whose ImageNet weights come from a file in the same folder."""
    file = tmp_path / 'vovnet.py'
    file.write_text(
        f"""
_base_ = {str(CONFIG)!r}
model = dict(
    backbone=dict(_delete_=True, type='VoVNet', arch='V-19-slim-dw',
                  init_cfg=dict(type='Pretrained', checkpoint={str(tmp_path / 'ours.pth')!r})),
    neck=dict(in_channels=[256, 384, 512], start_level=0))
"""
    )
    return file


@pytest.fixture(scope='module')
def imagenet():
    """A VoVNet and its tensors as a published file of ImageNet weights has them."""
    torch.manual_seed(0)
    network = MODELS.build(dict(type='VoVNet', arch='V-19-slim-dw'))
    published = {
        published_vovnet_name(name): tensor
        for name, tensor in network.state_dict().items()
        if 'num_batches_tracked' not in name
    }
    return network, published


def assert_loaded(config, network):
    """What ``init_cfg`` of the config loads are the network's tensors."""
    backbone = MODELS.build(Config.fromfile(config).model).backbone
    backbone.init_weights()
    for name, expected in network.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], expected), name


def test_backbone_alone(tool, tmp_path, vovnet_config, imagenet):
    network, published = imagenet
    classifier = {'classifier.weight': torch.ones(5, 512), 'classifier.bias': torch.ones(5)}
    torch.save(published | classifier, tmp_path / 'imagenet.pth')
    target = tmp_path / 'ours.pth'
    code, out, err = tool(
        tmp_path / 'imagenet.pth', target, '--config', vovnet_config, '--backbone'
    )
    assert code == 0, err
    assert f'(vovnet, {len(network.state_dict())} tensors) -> {target}' in out
    assert 'left out: classifier.weight, classifier.bias' in out
    assert torch.load(target, weights_only=True)['meta']['layout'] == 'vovnet'
    assert_loaded(vovnet_config, network)


@pytest.fixture
def dla_config(tmp_path):
    """CONFIG with DLA-34, whose ImageNet weights come from a file in the same folder."""
    file = tmp_path / 'dla.py'
    file.write_text(
        f"""
_base_ = {str(CONFIG)!r}
model = dict(
    backbone=dict(_delete_=True, type='DLA', depth=34,
                  init_cfg=dict(type='Pretrained', checkpoint={str(tmp_path / 'ours.pth')!r})),
    neck=dict(in_channels=[128, 256, 512], start_level=0))
"""
    )
    return file


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_dla_of_imagenet(tool, tmp_path, dla_config, prefix):
    torch.manual_seed(0)
    network = MODELS.build(dict(type='DLA'))
    published = {f'{prefix}{name}': tensor for name, tensor in network.state_dict().items()}
    published = {n: v for n, v in published.items() if 'num_batches_tracked' not in n}
    published |= {f'{prefix}fc.weight': torch.ones(5, 512, 1, 1), f'{prefix}fc.bias': torch.ones(5)}
    source, target = tmp_path / 'dla34.pth', tmp_path / 'ours.pth'
    torch.save(published, source)
    code, out, err = tool(source, target, '--config', dla_config, '--backbone')
    assert code == 0, err
    assert 'left out: fc.weight, fc.bias' in out
    assert torch.load(target, weights_only=True)['meta']['layout'] == 'dla'
    assert_loaded(dla_config, network)
    # another depth is told by its shapes
    code, _, err = tool(
        source,
        target,
        '--config',
        dla_config,
        '--backbone',
        '--cfg-options',
        'model.backbone.depth=60',
    )
    assert code == 2
    assert 'missing: level2.tree1.conv3.weight' in err


def test_a_detector_whose_model_has_more_parts(tool, published, tmp_path):
    content = torch.load(published[0], weights_only=True)
    kept = {n: v for n, v in content['state_dict'].items() if not n.startswith('neck.')}
    torch.save(kept, tmp_path / 'part.pth')
    code, out, err = tool(tmp_path / 'part.pth', tmp_path / 'ours.pth', '--config', CONFIG)
    assert (code, out) == (2, '')
    count = len(content['state_dict']) - len(kept)
    assert 'part.pth (polarmask-legacy): the file does not fit the model.' in err
    assert f'nothing of these parts of the model (number of tensors): neck ({count})' in err
    assert err.count('missing: neck.') == count


def test_backbone_of_a_detector(tool, tmp_path, vovnet_config, imagenet):
    network, published = imagenet
    detector = {f'backbone.bottom_up.{name}': tensor for name, tensor in published.items()}
    detector['proposal_generator.fcos_head.cls_logits.weight'] = torch.ones(80, 2, 3, 3)
    detector['roi_heads.mask_head.predictor.weight'] = torch.ones(80, 2, 1, 1)
    detector['pixel_mean'] = torch.ones(3)
    source, target = tmp_path / 'detector.pth', tmp_path / 'ours.pth'
    torch.save(dict(model=detector, iteration=7), source)
    code, out, err = tool(source, target, '--config', vovnet_config, '--backbone')
    assert code == 0, err
    assert 'left out: pixel_mean' in out
    assert 'left out: 2 tensors outside the backbone' in out
    assert_loaded(vovnet_config, network)
    target.unlink()
    # as a whole it is no detector of this config
    code, out, err = tool(source, target, '--config', vovnet_config)
    assert (code, out) == (2, '')
    assert 'unexpected: bbox_head.conv_cls.weight' in err
    assert not target.exists()


def test_backbone_needs_the_option(tool, tmp_path, vovnet_config, imagenet):
    torch.save(imagenet[1], tmp_path / 'imagenet.pth')
    code, out, err = tool(
        tmp_path / 'imagenet.pth', tmp_path / 'ours.pth', '--config', vovnet_config
    )
    assert (code, out) == (2, '')
    assert 'imagenet.pth (vovnet) holds a backbone alone: add --backbone' in err
    assert not (tmp_path / 'ours.pth').exists()


def test_backbone_of_another_arch(tool, tmp_path, vovnet_config, imagenet):
    torch.save(imagenet[1], tmp_path / 'imagenet.pth')
    options = '--backbone', '--cfg-options', 'model.backbone.arch=V-19-dw'
    code, _, err = tool(
        tmp_path / 'imagenet.pth', tmp_path / 'ours.pth', '--config', vovnet_config, *options
    )
    assert code == 2
    assert 'shape of stage2.0.concat.conv.weight: [112, 256, 1, 1] in the file' in err
    assert 'unexpected: ' not in err


def test_hint_of_the_layout(tool, tmp_path, vovnet_config):
    published = {
        'stem.1.conv.weight': torch.ones(1),
        'stages.0.blocks.0.conv_concat.conv.weight': torch.ones(1),
    }
    torch.save(published, tmp_path / 'timm.pth')
    code, _, err = tool(
        tmp_path / 'timm.pth', tmp_path / 'ours.pth', '--config', vovnet_config, '--backbone'
    )
    assert code == 2
    assert 'missing: stage2.0.attention.fc.weight' in err
    assert "set attention_blocks='last' in the backbone" in err


def test_numpy_pickles_are_refused_with_advice(tool, tmp_path):
    source = tmp_path / 'R-50.pkl'
    content = {'model': {'stem.conv1.weight': np.zeros((2, 3), np.float32)}}
    source.write_bytes(pickle.dumps(content))
    code, out, err = tool(source, tmp_path / 'ours.pth', '--config', CONFIG)
    assert (code, out) == (2, '')
    assert 'is a plain pickle of numpy arrays' in err
    assert 'torch.from_numpy' in err
