"""DLA against a plain account of its formulas, and its sizes, gradients and switches."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from polarseg.models.backbones import DLATree
from polarseg.models.layers import CPUSyncBatchNorm, convert_sync_batchnorm_to_cpu
from polarseg.registry import MODELS

BN = dict(type='BN')
ALL = (0, 1, 2, 3)
BASIC, WIDE = (64, 128, 256, 512), (128, 256, 512, 1024)
# depth: channels of levels 2 to 5, depths of their trees, and the millions of parameters that are
# known of each network as a classifier of 1000 without the projections that nothing reads
ARCHS = {
    34: (BASIC, (1, 2, 2, 1), 15.74),
    60: (WIDE, (1, 2, 3, 1), 22.04),
    102: (WIDE, (1, 3, 4, 1), 33.27),
    169: (WIDE, (2, 3, 5, 1), 53.39),
}
every_depth = pytest.mark.parametrize('depth', list(ARCHS))


def build(depth=34, **options):
    return MODELS.build(dict(type='DLA', depth=depth, norm_cfg=BN) | options)


def on_meta(depth=34, **options):
    with torch.device('meta'):
        return build(depth, **options)


def sizes(outputs):
    return [tuple(output.shape[1:]) for output in outputs]


def randomised(network, seed=0):
    """Other statistics and affine parameters than those of a fresh network."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith('running_var'):
            tensor.copy_(1 + torch.rand(tensor.shape, generator=generator))
        elif name.endswith('running_mean') or tensor.dim() == 1:
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    return network


def unused(network):
    """The projections of trees that consist of trees."""
    return {
        f'{name}.project'
        for name, module in network.named_modules()
        if isinstance(module, DLATree) and module.depth > 1 and module.project is not None
    }


@pytest.fixture
def picture():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


# -- the formulas ----------------------------------------------------------------------------


class Formulas:
    """The network written down from its tensors' names, with frozen statistics."""

    def __init__(self, network, depth):
        self.tensors = network.state_dict()
        self.bottleneck = depth > 34
        self.residual_root = depth > 60
        self.tree_depths = ARCHS[depth][1]

    def conv_norm(self, x, conv, norm, stride=1):
        weight = self.tensors[f'{conv}.weight']
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        parts = ('running_mean', 'running_var', 'weight', 'bias')
        return F.batch_norm(x, *(self.tensors[f'{norm}.{part}'] for part in parts), eps=1e-5)

    def block(self, name, x, residual, stride):
        strides = (1, stride, 1) if self.bottleneck else (stride, 1)
        for number, step in enumerate(strides, start=1):
            x = self.conv_norm(x, f'{name}.conv{number}', f'{name}.bn{number}', step)
            if number < len(strides):
                x = x.relu()
        return (x + residual).relu()

    def root(self, name, tensors):
        x = self.conv_norm(torch.cat(tensors, 1), f'{name}.conv', f'{name}.bn')
        return (x + tensors[0] if self.residual_root else x).relu()

    def tree(self, name, depth, x, stride, level_root, joined):
        pooled = F.max_pool2d(x, stride) if stride > 1 else x
        joined = [*joined, pooled] if level_root else [*joined]
        if depth > 1:
            first = self.tree(f'{name}.tree1', depth - 1, x, stride, False, [])
            return self.tree(f'{name}.tree2', depth - 1, first, 1, False, [*joined, first])
        residual = pooled
        if f'{name}.project.0.weight' in self.tensors:
            residual = self.conv_norm(pooled, f'{name}.project.0', f'{name}.project.1')
        first = self.block(f'{name}.tree1', x, residual, stride)
        second = self.block(f'{name}.tree2', first, first, 1)
        return self.root(f'{name}.root', [second, first, *joined])

    def __call__(self, x):
        for name, stride in (('base_layer', 1), ('level0', 1), ('level1', 2)):
            x = self.conv_norm(x, f'{name}.0', f'{name}.1', stride).relu()
        outputs = []
        for level, depth in zip((2, 3, 4, 5), self.tree_depths):
            x = self.tree(f'level{level}', depth, x, 2, level > 2, [])
            outputs.append(x)
        return outputs


@every_depth
def test_is_what_the_formulas_say(depth):
    torch.manual_seed(0)
    network = build(depth, out_indices=ALL)
    network.init_weights()
    randomised(network).eval()
    x = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        found, expected = network(x), Formulas(network, depth)(x)
    assert len(found) == len(expected) == 4
    for one, other in zip(found, expected):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * other.abs().max().item())


# -- the table of networks -------------------------------------------------------------------


@every_depth
def test_number_of_parameters(depth):
    network = on_meta(depth)
    count = sum(parameter.numel() for parameter in network.parameters())
    idle = [network.get_submodule(name) for name in unused(network)]
    count -= sum(parameter.numel() for module in idle for parameter in module.parameters())
    classifier = (ARCHS[depth][0][-1] + 1) * 1000
    assert round((count + classifier) / 1e6, 2) == ARCHS[depth][2]


@every_depth
def test_channels_and_strides(depth):
    outputs = on_meta(depth, out_indices=ALL)(torch.empty(2, 3, 64, 96, device='meta'))
    channels = ARCHS[depth][0]
    assert sizes(outputs) == [(c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32))]


def test_channels_that_roots_join():
    joined = {
        name.removesuffix('.root.conv'): module.in_channels
        for name, module in on_meta().named_modules()
        if name.endswith('.root.conv')
    }
    assert joined == {
        'level2': 128,
        'level3.tree1': 256,
        'level3.tree2': 448,
        'level4.tree1': 512,
        'level4.tree2': 896,
        'level5': 1280,
    }


@pytest.mark.parametrize('size', [(70, 99), (33, 65), (1, 40)])
def test_odd_sizes_are_rounded_up(size):
    outputs = on_meta(out_indices=ALL).train()(torch.empty(1, 3, *size, device='meta'))
    expected = [tuple(-(-side // stride) for side in size) for stride in (4, 8, 16, 32)]
    assert [tuple(output.shape[-2:]) for output in outputs] == expected


@pytest.mark.parametrize('chosen', [(0,), (1, 3), (3,), (2, 0)])
def test_out_indices(picture, chosen):
    network = build(out_indices=chosen)
    expected = [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]
    outputs = network(picture)
    assert sizes(outputs) == [expected[stage] for stage in sorted(chosen)]
    assert hasattr(network, f'level{max(chosen) + 2}')
    assert not hasattr(network, f'level{max(chosen) + 3}')
    sum(output.sum() for output in outputs).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_batch_gives_what_each_picture_gives(picture):
    network = randomised(build()).eval()
    with torch.no_grad():
        both = network(picture)
        for number in range(2):
            for expected, found in zip(network(picture[number : number + 1]), both):
                torch.testing.assert_close(found[number], expected[0])
    assert sizes(network(picture[:0])) == [(128, 8, 8), (256, 4, 4), (512, 2, 2)]


# -- projections that nothing reads ----------------------------------------------------------


@pytest.mark.parametrize(
    ('depth', 'expected'),
    [
        (34, ['level3', 'level4']),
        (60, ['level3', 'level4', 'level4.tree1']),
        (169, ['level2', 'level3', 'level3.tree1', *(f'level4{".tree1" * n}' for n in range(4))]),
    ],
)
def test_trees_of_trees_own_a_projection(depth, expected):
    assert unused(on_meta(depth)) == {f'{name}.project' for name in expected}


def test_unused_projections_change_nothing_and_get_a_gradient_of_zero(picture):
    networks = [build().train() for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    names = unused(networks[0])
    for name in names:
        nn.init.normal_(networks[1].get_submodule(name)[0].weight)
    for network in networks:
        sum(output.square().mean() for output in network(picture)).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad.any() != (name.rsplit('.', 2)[0] in names), name
    weights = [network.level3.tree1.tree1.conv1.weight.grad for network in networks]
    assert torch.equal(*weights)
    outputs = [network.eval()(picture) for network in networks]
    assert all(torch.equal(one, other) for one, other in zip(*outputs))


def test_unused_projections_only_decay(picture):
    network = build().train()
    weight = network.level4.project[0].weight
    before = weight.detach().clone()
    network(picture)[-1].sum().backward()
    torch.optim.SGD(network.parameters(), lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(weight.detach(), 0.95 * before)


# -- freezing and norms ----------------------------------------------------------------------

PARTS = ('base_layer', 'level0', 'level1', 'level2', 'level3', 'level4', 'level5')


@pytest.mark.parametrize(('frozen_stages', 'count'), [(-1, 0), (0, 3), (2, 5), (4, 7)])
def test_frozen_stages_stay_frozen(picture, frozen_stages, count):
    network = build(frozen_stages=frozen_stages)
    for mode in (None, True):  # before train(), when the optimiser is built, and after it
        if mode:
            network.train()
        frozen = [
            name
            for name, part in network.named_children()
            if not any(parameter.requires_grad for parameter in part.parameters())
        ]
        assert frozen == [*PARTS[:count]]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    outputs = network(picture)
    if frozen_stages < 4:
        sum(output.square().mean() for output in outputs).backward()
        torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1).step()
    changed = {
        name.split('.')[0]
        for name, tensor in network.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert changed == {*PARTS[count:]}


@pytest.mark.parametrize('norm_eval', [True, False])
def test_norm_eval(picture, norm_eval):
    network = build(norm_eval=norm_eval).train()
    norm = network.level3.tree1.root.bn
    before = norm.running_mean.clone()
    network(picture)
    assert torch.equal(norm.running_mean, before) == norm_eval
    assert norm.training != norm_eval
    assert network.level3.training
    assert not network.eval().level3.training


def test_norms_are_synchronised_by_default(picture):
    network = MODELS.build(dict(type='DLA')).train()
    norms = [module for module in network.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert len(norms) == 3 + 2 * 6 + 2 * 12
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert all(parameter.requires_grad for norm in norms for parameter in norm.parameters())
    sum(output.sum() for output in network(picture)).backward()  # one process: on the CPU too
    assert all(m.bias is None for m in network.modules() if isinstance(m, nn.Conv2d))


def test_synchronised_norms_can_be_replaced_on_the_cpu(picture):
    network = MODELS.build(dict(type='DLA')).train()
    twin = convert_sync_batchnorm_to_cpu(copy.deepcopy(network))
    kinds = {type(m) for m in twin.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert kinds == {CPUSyncBatchNorm}
    assert twin.state_dict().keys() == network.state_dict().keys()
    for expected, found in zip(network(picture), twin(picture)):
        torch.testing.assert_close(found, expected)


def test_other_norms(picture):
    network = build(norm_cfg=dict(type='GN', num_groups=16), frozen_stages=1).train()
    assert isinstance(network.level4.tree2.root.gn, nn.GroupNorm)
    sum(output.sum() for output in network(picture)).backward()
    assert network.level4.tree2.root.gn.weight.grad.any()


# -- checkpointing, initialisation -----------------------------------------------------------


@pytest.mark.parametrize('frozen_stages', [-1, 1])
def test_checkpointing_gives_the_same_gradients(picture, frozen_stages):
    options = dict(frozen_stages=frozen_stages, norm_eval=True)
    plain = randomised(build(**options))
    gradients = []
    for with_cp in (False, True):
        network = build(with_cp=with_cp, **options).train()
        network.load_state_dict(plain.state_dict())
        sum(output.square().mean() for output in network(picture)).backward()
        gradients.append({n: p.grad for n, p in network.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected)


def test_checkpointing_computes_stages_twice(picture, monkeypatch):
    calls = []
    forward = DLATree.forward
    monkeypatch.setattr(
        DLATree, 'forward', lambda self, *args: calls.append(0) or forward(self, *args)
    )
    network = build(with_cp=True).train()
    with torch.no_grad():
        network(picture)
    trees = sum(isinstance(module, DLATree) for module in network.modules())
    assert len(calls) == trees == 8
    network(picture)[-1].sum().backward()
    assert len(calls) == 3 * trees


def test_initialisation():
    network = build()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    network.init_weights()
    for layer, fan_out in (
        (network.base_layer[0], 16 * 49),
        (network.level4.tree1.tree2.conv1, 256 * 9),
        (network.level5.root.conv, 512),
        (network.level3.project[0], 128),
    ):
        assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        assert abs(layer.weight.mean().item()) < 0.1 * (2 / fan_out) ** 0.5
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((norm.weight == 1).all() and not norm.bias.any() for norm in norms)


def test_published_file_as_pretrained_weights(tmp_path):
    """Its names are ours, so that it needs no conversion; the classifier is left."""
    source = build()
    for parameter in source.parameters():
        nn.init.normal_(parameter)
    file = tmp_path / 'dla34.pth'
    published = {n: v for n, v in source.state_dict().items() if 'num_batches' not in n}
    torch.save(published | {'fc.weight': torch.ones(1000, 512, 1, 1)}, file)
    network = build(init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    network.init_weights()
    for name, expected in source.state_dict().items():
        assert torch.equal(network.state_dict()[name], expected), name


# -- use and errors --------------------------------------------------------------------------


def test_in_a_config_of_mmdets_scope():
    """mmdet's registry imports polarseg for the prefix; a fresh process knows nothing of it."""
    code = (
        'from mmdet.registry import MODELS\n'
        'from mmdet.utils import register_all_modules\n'
        'register_all_modules()\n'
        "model = MODELS.build(dict(type='RetinaNet', backbone=dict(type='polarseg.DLA', depth=34), "
        "neck=dict(type='FPN', in_channels=[128, 256, 512], out_channels=16, num_outs=3), "
        "bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=16, feat_channels=16, "
        "anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], strides=[8, 16, 32], "
        'octave_base_scale=4, scales_per_octave=1))))\n'
        'import torch\n'
        'model.init_weights()\n'
        'print(len(model(torch.zeros(2, 3, 64, 64))[0]), type(model.backbone).__module__)\n'
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == '3 polarseg.models.backbones.dla'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(depth=46), r'depth must be one of \[34, 60, 102, 169\], got 46'),
        (dict(frozen_stages=5), 'frozen_stages must be one of .*got 5'),
        (dict(out_indices=()), r'out_indices must be of 0, 1, 2 and 3, got \(\)'),
        (dict(out_indices=(3, 4, 5)), r'out_indices must be of 0, 1, 2 and 3, got \(3, 4, 5\)'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        on_meta(**options)
