"""Bottom modules of BlendMask: names, norms, bases, the auxiliary loss."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData
from torch import nn
from torch.nn import functional as F

from polarseg.models import DeepLabBasis, ProtoNet
from polarseg.registry import MODELS

SMALL = dict(in_channels=16, channels=8, num_classes=5)
BOTH = pytest.mark.parametrize('kind', [ProtoNet, DeepLabBasis])


@pytest.fixture
def feats():
    """P3 to P5 of two pictures of 64 x 96."""
    return [torch.randn(2, 16, 64 // stride, 96 // stride) for stride in (8, 16, 32)]


@pytest.fixture
def samples():
    return samples_of(torch.randint(0, 6, (2, 64, 96), dtype=torch.uint8))


def samples_of(label_maps):
    samples = [DetDataSample() for _ in label_maps]
    for sample, labels in zip(samples, label_maps):
        sample.gt_sem_seg = PixelData(sem_seg=labels[None])
    return samples


def norms_of(module):
    names = {type(layer).__name__ for layer in module.modules()}
    return {name for name in names if 'Norm' in name}


def layer_names(module):
    """Names of the layers that have a weight."""
    return {name.rpartition('.')[0] for name, _ in module.named_parameters()}


@pytest.mark.parametrize('num_convs', [2, 3])
def test_names_and_shapes_of_the_published_module(num_convs):
    basis = MODELS.build(dict(type='ProtoNet', num_convs=num_convs))
    convs = [f'refine.{i}' for i in range(3)] + [f'tower.{i}' for i in range(num_convs)]
    convs += [f'tower.{num_convs + 1}', 'seg_head.0', 'seg_head.1']
    expected = {f'{conv}.{kind}' for conv in convs for kind in ('conv', 'bn')}
    assert layer_names(basis) == expected | {f'tower.{num_convs + 2}', 'seg_head.2'}
    state = basis.state_dict()
    assert state['refine.2.conv.weight'].shape == (128, 256, 3, 3)
    assert state[f'tower.{num_convs + 1}.conv.weight'].shape == (128, 128, 3, 3)
    assert state[f'tower.{num_convs + 2}.weight'].shape == (4, 128, 1, 1)
    assert state['seg_head.2.weight'].shape == (81, 128, 1, 1)
    assert not any(name.endswith('conv.bias') for name in state)


@BOTH
def test_norms(kind):
    """The auxiliary head's is never synchronised."""
    basis = kind(**SMALL)
    assert norms_of(basis.tower) == {'SyncBatchNorm'}
    assert norms_of(basis.seg_head) == {'BatchNorm2d'}
    grouped = kind(**SMALL, norm_cfg=dict(type='GN', num_groups=4))
    assert norms_of(grouped.tower) == {'GroupNorm'}
    assert norms_of(grouped.seg_head) == {'BatchNorm2d'}


@BOTH
@pytest.mark.parametrize(('norm_cfg', 'bias'), [(None, True), ('', False), ('BN', False)])
def test_biases_depend_on_the_name_of_the_norm(feats, kind, norm_cfg, bias):
    basis = kind(**SMALL, norm_cfg=norm_cfg)
    assert norms_of(basis.tower) == ({'BatchNorm2d'} if norm_cfg else set())
    assert (basis.tower[0].conv.bias is not None) == bias
    assert basis.tower[-1].bias is not None
    assert basis.seg_head[0].conv.bias is None
    assert basis(feats).shape == (2, 4, 16, 24)


def test_bases_are_the_tower_of_the_stretched_sum(feats):
    basis = ProtoNet(**SMALL, num_convs=1).eval()
    refined = [conv(feat) for conv, feat in zip(basis.refine, feats)]
    total = sum(
        F.interpolate(one, size=(8, 12), mode='bilinear', align_corners=False) for one in refined
    )
    before, after, predictor = basis.tower[0], basis.tower[2], basis.tower[3]
    stretched = F.interpolate(before(total), scale_factor=2, mode='bilinear', align_corners=False)
    found = basis(feats)
    torch.testing.assert_close(found, predictor(after(stretched)))
    assert found.min() < 0  # no activation


@BOTH
@pytest.mark.parametrize('num_bases', [1, 2, 4, 8])
@pytest.mark.parametrize('num_convs', [0, 2])
def test_number_of_bases_and_depth(feats, kind, num_bases, num_convs):
    basis = kind(**SMALL, num_bases=num_bases, num_convs=num_convs)
    assert basis(feats).shape == (2, num_bases, 16, 24)


@BOTH
def test_maps_of_a_backbone(samples, kind):
    """C2 to C5, of which C3 and C5 are used."""
    feats = [torch.randn(2, 2**n, 64 // 2**n, 96 // 2**n) for n in range(2, 6)]
    basis = kind(in_channels=[8, 32], in_indices=(1, 3), channels=8, num_classes=5)
    bases, losses = basis.loss(feats, samples)
    assert bases.shape == (2, 4, 16, 24)
    (losses['loss_basis_sem'] + bases.square().mean()).backward()
    assert all(p.grad.any() for name, p in basis.named_parameters())


def test_low_level_features_of_stride_4(samples):
    feats = [torch.randn(2, 16, 64 // stride, 96 // stride) for stride in (4, 32)]
    basis = DeepLabBasis(**SMALL, in_indices=(0, 1), sem_stride=4, dilations=(1, 2))
    bases, losses = basis.loss(feats, samples)
    assert bases.shape == (2, 4, 16, 24)
    assert basis.semantic(feats).shape == (2, 6, 16, 24)
    assert losses['loss_basis_sem'] > 0


def test_deeplab_needs_two_maps():
    with pytest.raises(ValueError, match=r'finest and the coarsest, got \(0, 1, 2\)'):
        DeepLabBasis(**SMALL, in_indices=(0, 1, 2))


def test_atrous_pyramid_sees_the_whole_map(feats):
    """Through the mean of the map, where dilations do not reach."""
    basis = DeepLabBasis(**SMALL, dilations=(1,), norm_cfg=None)
    feats[2].requires_grad_()
    nn.init.constant_(basis.aspp.image_pooling.conv.bias, 9.0)  # active
    basis.aspp(feats[2])[:, :, 0, 0].sum().backward()
    assert feats[2].grad[..., -1, -1].any()


@BOTH
def test_a_batch_is_its_single_pictures(feats, kind):
    basis = kind(**SMALL).eval()
    both = basis(feats)
    for k in range(2):
        torch.testing.assert_close(basis([feat[k, None] for feat in feats])[0], both[k])


@BOTH
def test_training_on_one_picture(feats, samples, kind):
    """With batch norms, which the mean of a single map could not pass."""
    small = [feat[:1, :, : 4 // 2**n, : 4 // 2**n] for n, feat in enumerate(feats)]
    small[0].requires_grad_()
    basis = kind(**SMALL, in_indices=(0, 1), norm_cfg='BN').train()
    bases, losses = basis.loss(small, samples_of([torch.ones(32, 32, dtype=torch.uint8)]))
    (losses['loss_basis_sem'] + bases.sum()).backward()
    assert small[0].grad.any()


# -- auxiliary loss ---------------------------------------------------------------------------


@BOTH
def test_auxiliary_loss_is_the_mean_over_all_positions(feats, samples, kind):
    samples[1].gt_sem_seg.sem_seg[:, 40:] = 0  # padding, which counts
    basis = kind(**SMALL).eval()
    bases, losses = basis.loss(feats, samples)
    torch.testing.assert_close(bases, basis(feats))
    assert list(losses) == ['loss_basis_sem']
    log_likelihood = basis.semantic(feats).log_softmax(dim=1)
    total = 0
    for k, sample in enumerate(samples):
        labels = sample.gt_sem_seg.sem_seg[0]
        for row in range(8):
            for column in range(12):
                label = int(labels[8 * row, 8 * column])
                total -= log_likelihood[k, label, row, column]
    torch.testing.assert_close(losses['loss_basis_sem'], 0.3 * total / (2 * 8 * 12))


def test_the_auxiliary_head_reads_the_finest_map(feats):
    basis = ProtoNet(**SMALL).eval()
    torch.testing.assert_close(basis.semantic(feats), basis.seg_head(feats[0]))


@pytest.mark.parametrize(('height', 'width'), [(64, 96), (57, 90), (63, 95), (60, 89)])
def test_sizes_are_rounded_up_like_those_of_the_features(feats, height, width):
    """A picture whose batch is no multiple of 8: the last block is cut off, its corner counts."""
    labels = torch.zeros(2, height, width, dtype=torch.uint8)
    labels[:, 56, 88] = 5
    basis = ProtoNet(**SMALL)
    found = basis._labels(samples_of(labels), (8, 12))
    assert found.shape == (2, 8, 12)
    assert (found == 5).nonzero().tolist() == [[0, 7, 11], [1, 7, 11]]
    assert basis.loss(feats, samples_of(labels))[1]['loss_basis_sem'].isfinite()


@BOTH
def test_every_parameter_has_a_gradient(feats, samples, kind):
    basis = kind(**SMALL)
    bases, losses = basis.loss(feats, samples)
    (losses['loss_basis_sem'] + bases.sum() * 0).backward()
    assert all(p.grad is not None for p in basis.parameters())
    assert all(p.grad.any() for p in basis.seg_head[2].parameters())


@BOTH
def test_without_auxiliary_head(feats, kind):
    basis = kind(in_channels=16, channels=8, num_classes=None)
    assert not any(name.startswith('seg_head') for name in basis.state_dict())
    bases, losses = basis.loss(feats, [DetDataSample(), DetDataSample()])
    assert bases.shape == (2, 4, 16, 24)
    assert losses == {}
    with pytest.raises(ValueError, match='num_classes is None'):
        basis.semantic(feats)


def test_a_missing_label_map(feats, samples):
    del samples[1].gt_sem_seg
    with pytest.raises(ValueError, match=r'LoadThingSemantic.*\[1\]'):
        ProtoNet(**SMALL).loss(feats, samples)


def test_a_label_map_of_another_size(feats):
    labels = torch.zeros(2, 64, 104, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r'stride 8 \[8, 12\], got \[8, 13\]'):
        ProtoNet(**SMALL).loss(feats, samples_of(labels))


def test_label_maps_that_are_not_padded(feats):
    maps = [torch.zeros(64, 96, dtype=torch.uint8), torch.zeros(40, 96, dtype=torch.uint8)]
    with pytest.raises(ValueError, match=r'pad_seg=True.*\[8, 12\], got \[5, 12\]'):
        ProtoNet(**SMALL).loss(feats, samples_of(maps))


def test_labels_beyond_the_classes(feats):
    labels = torch.zeros(2, 64, 96, dtype=torch.uint8)
    labels[1, 8, 16] = 5
    ProtoNet(**SMALL).loss(feats, samples_of(labels))
    labels[1, 8, 16] = 6
    with pytest.raises(ValueError, match=r'num_classes of the basis module, 5, got 6'):
        ProtoNet(**SMALL).loss(feats, samples_of(labels))


def test_bfloat16(feats, samples):
    basis = ProtoNet(**SMALL).eval()
    expected = basis.loss(feats, samples)[1]['loss_basis_sem']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        bases, losses = basis.loss(feats, samples)
    assert bases.dtype == torch.bfloat16
    assert losses['loss_basis_sem'].dtype == torch.float32
    torch.testing.assert_close(losses['loss_basis_sem'], expected, rtol=0.02, atol=0)


# -- construction -----------------------------------------------------------------------------


@BOTH
def test_initialisation(kind):
    """Uniform with a variance of 1 / fan in; the predictors like torch's own, of a third of it."""
    basis = kind(in_channels=64, channels=64)
    basis.init_weights()
    stems = [basis.tower[0], basis.seg_head[0], basis.seg_head[1]]
    stems += [basis.refine[2]] if kind is ProtoNet else [basis.low_level, basis.aspp.project]
    for conv in (stem.conv for stem in stems):
        fan_in = conv.weight[0].numel()
        assert conv.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.07)
        assert conv.weight.abs().max().item() <= (3 / fan_in) ** 0.5
    assert basis.seg_head[2].weight.std().item() == pytest.approx((1 / 3 / 64) ** 0.5, rel=0.07)
    assert basis.tower[-1].weight.abs().max().item() <= 1 / 8
    assert basis.tower[-1].bias.any()


def test_initialisation_of_ones_own():
    basis = ProtoNet(**SMALL, init_cfg=dict(type='Constant', val=0.5, layer='Conv2d'))
    basis.init_weights()
    assert (basis.tower[0].conv.weight == 0.5).all()


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(in_channels=[16, 16]), r'in_channels must be of 3 maps, as in_indices, got 2'),
        (dict(sem_stride=6), r'multiple of base_stride, got 6, 4'),
    ],
)
def test_options_that_do_not_fit(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ProtoNet(**SMALL | options)
