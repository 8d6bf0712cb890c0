"""SemSegFPNHead: network, loss and resizing against formulas written out, and its init."""

import math

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData
from torch.nn import functional as F

from polarseg.registry import MODELS

IN, INNER, STUFF = 6, 8, 4
SIZE = (64, 96)
LEVELS = (4, 8, 16, 32)


def build(**options):
    head = MODELS.build(
        dict(
            type='SemSegFPNHead',
            num_stuff_classes=STUFF,
            in_channels=IN,
            inner_channels=INNER,
            norm_cfg=dict(type='GN', num_groups=2),
            **options,
        )
    )
    head.init_weights()
    return head


def pyramid(batch=2, levels=LEVELS, requires_grad=False):
    height, width = SIZE
    return [
        torch.randn(batch, IN, height // stride, width // stride, requires_grad=requires_grad)
        for stride in levels
    ]


def samples_of(labels):
    samples = []
    for own in labels:
        sample = DetDataSample()
        sample.gt_sem_seg = PixelData(semantic_seg=own[None])
        samples.append(sample)
    return samples


def resize(maps, size):
    """Bilinear, pixel centres at halves, no antialiasing: written out for ``[..., h, w]``."""
    for axis, number in ((-2, size[0]), (-1, size[1])):
        given = maps.shape[axis]
        places = ((np.arange(number) + 0.5) * given / number - 0.5).clip(0)
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, given - 1)
        share = places - low
        shape = [1] * maps.ndim
        shape[axis] = number
        share = share.reshape(shape)
        maps = maps.take(low, axis) * (1 - share) + maps.take(high, axis) * share
    return maps


def test_network():
    """Each level: convolution, norm, ReLU, upsampling until stride 4; the sum; a convolution."""
    head, feats = build(), pyramid()
    state = head.state_dict()
    total = 0
    for level, (x, convs, ups) in enumerate(zip(feats, (1, 1, 2, 3), (0, 1, 2, 3))):
        for layer in range(convs):
            unit = f'conv_upsample_layers.{level}.conv.{layer}'
            x = F.conv2d(x, state[f'{unit}.conv.weight'], padding=1)
            x = F.group_norm(x, 2, state[f'{unit}.gn.weight'], state[f'{unit}.gn.bias'])
            x = x.relu()
            if layer < ups:
                x = F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)
        total = total + x
    expected = F.conv2d(total, state['conv_logits.weight'], state['conv_logits.bias'])
    found = head.logits(feats)
    assert found.shape == (2, 1 + STUFF, SIZE[0] // 4, SIZE[1] // 4)
    torch.testing.assert_close(found, expected)
    # nothing else has parameters
    assert len(state) == 3 * 7 + 2


def expected_loss(head, feats, labels, weight=0.5):
    logits = resize(head.logits(feats).detach().double().numpy(), SIZE)
    logits = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    losses = [
        -log_probabilities[picture, label, y, x]
        for picture, own in enumerate(labels.tolist())
        for y, row in enumerate(own)
        for x, label in enumerate(row)
        if label != 255
    ]
    return weight * np.mean(losses)


@pytest.mark.parametrize('dtype', [torch.int64, torch.int32, torch.uint8])
def test_loss_is_the_mean_over_pixels_that_count(dtype):
    """Over those of the whole batch, however they are spread over the pictures."""
    head, feats = build(), pyramid()
    labels = torch.randint(0, 1 + STUFF, (2, *SIZE))
    labels[0, :50] = 255
    labels[1, :, 80:] = 255
    found = head.loss(feats, samples_of(labels.to(dtype)))
    assert set(found) == {'loss_sem_seg'}
    assert found['loss_sem_seg'].item() == pytest.approx(expected_loss(head, feats, labels), 1e-5)


def test_loss_weight():
    head, feats = build(loss_weight=2.0), pyramid()
    labels = torch.randint(0, 1 + STUFF, (2, *SIZE))
    found = head.loss(feats, samples_of(labels))['loss_sem_seg'].item()
    assert found == pytest.approx(expected_loss(head, feats, labels, weight=2.0), 1e-5)


def test_ignored_pixels_change_no_gradient():
    head, feats = build(), pyramid(requires_grad=True)
    labels = torch.randint(0, 1 + STUFF, (2, *SIZE))
    labels[1] = 255
    both = head.loss(feats, samples_of(labels))['loss_sem_seg']
    one = head.loss([x[:1] for x in feats], samples_of(labels[:1]))['loss_sem_seg']
    torch.testing.assert_close(both, one)
    both.backward()
    assert all(x.grad[0].abs().max() > 0 and x.grad[1].abs().max() == 0 for x in feats)


def test_all_ignored():
    """0 with a graph, so that every parameter has a gradient in every process."""
    head, feats = build(), pyramid(requires_grad=True)
    loss = head.loss(feats, samples_of(torch.full((2, *SIZE), 255)))['loss_sem_seg']
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is not None and p.grad.eq(0).all() for p in head.parameters())
    assert all(x.grad.eq(0).all() for x in feats)


def test_labels_that_do_not_fit():
    head, feats = build(), pyramid(batch=1)
    with pytest.raises(ValueError, match=r'LoadPanopticLabels.*PanopticDataPreprocessor'):
        head.loss(feats, [DetDataSample()])
    things = DetDataSample()
    things.gt_sem_seg = PixelData(sem_seg=torch.zeros(1, *SIZE))
    with pytest.raises(ValueError, match=r'needs gt_sem_seg\.semantic_seg'):
        head.loss(feats, [things])
    with pytest.raises(ValueError, match=r'size of the batch, \[64, 96\], got \[16, 24\]'):
        head.loss(feats, samples_of(torch.zeros(1, 16, 24)))


def test_predict_cuts_the_padding_off_then_resizes():
    head, feats = build(), pyramid()
    metas = [
        dict(img_shape=(60, 96), ori_shape=(37, 55)),
        dict(img_shape=(64, 81, 3), ori_shape=(140, 200, 3)),
    ]
    with torch.no_grad():
        full = resize(head.logits(feats).double().numpy(), SIZE)
        raw = head.predict(feats, metas)
        scaled = head.predict(feats, metas, rescale=True)
    for own, network, original, meta in zip(full, raw, scaled, metas):
        height, width = meta['img_shape'][:2]
        own = own[:, :height, :width]
        assert network.dtype == original.dtype == torch.float32
        np.testing.assert_allclose(network, own, atol=1e-5)
        np.testing.assert_allclose(original, resize(own, meta['ori_shape'][:2]), atol=1e-5)


def test_pictures_of_a_batch_do_not_mix():
    head, feats = build(), pyramid()
    metas = [dict(img_shape=SIZE)] * 2
    with torch.no_grad():
        together = head.predict(feats, metas)
        for row in range(2):
            (alone,) = head.predict([x[row : row + 1] for x in feats], metas[:1])
            torch.testing.assert_close(together[row], alone)


def test_other_pyramids():
    """One that begins with P3, and one of which the head sees P2 and P3 alone."""
    head = build(stride=8, end_level=3)
    with torch.no_grad():
        assert head.full_size(pyramid(levels=LEVELS[1:])).shape == (2, 1 + STUFF, *SIZE)
    head = build(end_level=2)
    assert [len(layer.conv) for layer in head.conv_upsample_layers] == [1, 1]
    with torch.no_grad():
        assert head.full_size(pyramid()).shape == (2, 1 + STUFF, *SIZE)


def test_mixed_precision():
    """The loss and what is predicted are float32."""
    head, feats = build(), pyramid()
    labels = torch.randint(0, 1 + STUFF, (2, *SIZE))
    with torch.autocast('cpu', torch.bfloat16):
        loss = head.loss(feats, samples_of(labels))['loss_sem_seg']
        found = head.predict(feats, [dict(img_shape=SIZE)] * 2)
    assert loss.dtype == found[0].dtype == torch.float32
    assert loss.item() == pytest.approx(expected_loss(head, feats, labels), rel=0.05)


def test_init():
    """Kaiming normal by fan-out, the predictor's too (mmdet: 0.01)."""
    head = MODELS.build(
        dict(
            type='SemSegFPNHead',
            in_channels=64,
            inner_channels=64,
            norm_cfg=dict(type='GN', num_groups=32),
        )
    )
    head.init_weights()
    for name, parameter in head.named_parameters():
        if name.endswith('conv.weight'):
            expected = math.sqrt(2 / (64 * 9))
        elif name == 'conv_logits.weight':
            expected = math.sqrt(2 / 54)
        else:
            assert parameter.eq(1.0 if name.endswith('gn.weight') else 0.0).all(), name
            continue
        assert parameter.std().item() == pytest.approx(expected, rel=0.05), name
        assert abs(parameter.mean().item()) < 0.1 * expected, name
        # normal, not uniform: a uniform one of this deviation ends at 1.73 of it
        assert parameter.abs().max().item() > 2.5 * expected, name
    assert not any(name.endswith('.conv.bias') for name in head.state_dict())
    assert head.num_classes == 54
