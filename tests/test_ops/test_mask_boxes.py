"""mask_boxes against numpy's search, and as an operator."""

import numpy as np
import pytest
import torch

from polarseg.ops import mask_boxes

OP = torch.ops.polarseg.mask_boxes.default


def random_masks(height, width, count=12):
    """Masks of few pixels, one of all and one of none."""
    rng = np.random.default_rng([height, width])
    masks = rng.integers(1, 256, (count, height, width), dtype=np.uint8)
    masks[2:] *= rng.random(masks[2:].shape) < 3 / (height * width)
    masks[1] = 0
    return masks


def searched(masks):
    boxes = np.zeros((len(masks), 4), int)
    for mask, box in zip(masks, boxes):
        rows, columns = np.nonzero(mask)
        if len(rows):
            box[:] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return boxes


@pytest.mark.parametrize('height', [1, 2, 3, 4, 5, 6, 7, 31, 100])
@pytest.mark.parametrize('width', [1, 2, 15, 16, 17, 64, 129])
def test_smallest_box_round_the_pixels(height, width):
    masks = random_masks(height, width)
    expected = torch.from_numpy(searched(masks))
    assert torch.equal(mask_boxes(torch.from_numpy(masks)), expected)
    assert torch.equal(mask_boxes(torch.from_numpy(masks > 0)), expected)


def test_every_single_pixel():
    masks = torch.eye(7 * 9, dtype=torch.uint8).reshape(-1, 7, 9)
    boxes = mask_boxes(masks).reshape(7, 9, 4)
    rows, columns = torch.meshgrid(torch.arange(7), torch.arange(9), indexing='ij')
    assert torch.equal(boxes, torch.stack([columns, rows, columns + 1, rows + 1], dim=-1))


@pytest.mark.parametrize('shape', [(0, 4, 5), (3, 0, 5), (3, 4, 0)])
def test_nothing_to_look_at(shape):
    boxes = mask_boxes(torch.zeros(shape, dtype=torch.uint8))
    assert boxes.tolist() == [[0, 0, 0, 0]] * shape[0]


def test_views():
    masks = torch.from_numpy(random_masks(20, 30))
    turned = masks.transpose(1, 2)
    assert torch.equal(mask_boxes(turned), mask_boxes(turned.contiguous()))
    assert torch.equal(mask_boxes(masks[1::3, 2:, 3:]), mask_boxes(masks[1::3, 2:, 3:].clone()))


def test_opcheck():
    torch.library.opcheck(OP, (torch.from_numpy(random_masks(20, 30)),))


def test_compiles_and_exports_with_any_number_of_masks():
    class Boxes(torch.nn.Module):
        def forward(self, masks):
            return mask_boxes(masks) + 1

    masks = torch.from_numpy(random_masks(20, 30))
    compiled = torch.compile(Boxes(), backend='aot_eager', fullgraph=True)
    assert torch.equal(compiled(masks), mask_boxes(masks) + 1)
    dynamic = ({0: torch.export.Dim('masks')},)
    exported = torch.export.export(Boxes(), (masks,), dynamic_shapes=dynamic).module()
    assert torch.equal(exported(masks[:5]), mask_boxes(masks[:5]) + 1)


@pytest.mark.parametrize('device', ['cpu', 'meta'])
@pytest.mark.parametrize(
    ('masks', 'error', 'sentence'),
    [
        (torch.zeros(2, 3, 3), TypeError, 'masks must be uint8 or bool, got'),
        (torch.zeros(3, 3, dtype=torch.bool), ValueError, r'must have shape \(n, h, w\), got'),
    ],
)
def test_refuses_with_a_sentence(device, masks, error, sentence):
    with pytest.raises(error, match=f'mask_boxes: .*{sentence}'):
        mask_boxes(masks.to(device))


@pytest.mark.gpu
def test_cuda_equals_cpu():
    masks = torch.from_numpy(random_masks(20, 30))
    boxes = mask_boxes(masks.cuda())
    assert boxes.is_cuda
    assert torch.equal(boxes.cpu(), mask_boxes(masks))
