"""largest_contours against OpenCV, and as an operator."""

import cv2
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from polarseg.ops import largest_contours

OP = torch.ops.polarseg.largest_contours.default


def by_opencv(mask):
    contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros((0, 2), int)
    return max(contours, key=cv2.contourArea).reshape(-1, 2)


def assert_as_opencv(masks):
    masks = np.ascontiguousarray(masks, np.uint8)
    points, offsets = largest_contours(torch.from_numpy(masks))
    assert points.dtype == torch.float32
    assert offsets.dtype == torch.int64
    assert offsets[0] == 0
    assert len(offsets) == len(masks) + 1
    contours = points.numpy()
    for mask, start, end in zip(masks, offsets[:-1].tolist(), offsets[1:].tolist()):
        np.testing.assert_array_equal(contours[start:end], by_opencv(mask), err_msg=f'{mask}')
    assert offsets[-1] == len(points)


def random_masks(height, width, count=8, share=0.5, seed=0):
    rng = np.random.default_rng([height, width, seed])
    masks = rng.integers(1, 256, (count, height, width), dtype=np.uint8)
    return masks * (rng.random(masks.shape) < share)


@pytest.mark.parametrize('share', [0.0, 0.03, 0.2, 0.4, 0.5, 0.6, 0.8, 0.97, 1.0])
@pytest.mark.parametrize('smooth', [False, True])
def test_random_masks(share, smooth):
    """Many components, holes, holes with islands; ties, too, where the masks are small."""
    for seed, (height, width) in enumerate([(2, 3), (4, 4), (6, 9), (20, 31), (33, 70), (9, 200)]):
        masks = random_masks(height, width, 16, share, seed)
        if smooth:
            masks = np.stack([cv2.medianBlur(mask, 3) for mask in masks])
        assert_as_opencv(masks)


def test_every_mask_of_three_by_four():
    bits = np.arange(1 << 12)[:, None] >> np.arange(12) & 1
    assert_as_opencv(bits.reshape(-1, 3, 4))


@pytest.mark.parametrize('width', [1, 2, 63, 64, 65, 127, 128, 129, 200])
@pytest.mark.parametrize('height', [1, 2, 3, 5, 8])
def test_runs_that_end_anywhere(height, width):
    masks = random_masks(height, width, 12, 0.9)
    masks[0] = 1
    assert_as_opencv(masks)


def test_of_equal_ones_the_last_of_the_picture():
    """OpenCV has it first, and max() takes the first."""
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, 2:5, 10:13] = mask[0, 9:12, 3:6] = mask[0, 9:12, 12:15] = 1
    points, _ = largest_contours(torch.from_numpy(mask))
    assert points[0].tolist() == [12, 9]
    assert_as_opencv(mask)


def test_rings_spirals_and_parts_that_meet_late():
    rings = np.zeros((5, 64, 90), np.uint8)
    for radius in range(3, 30, 4):
        cv2.circle(rings[0], (40, 32), radius, 1, 1)
        cv2.circle(rings[1], (40, 32), radius, 1, 2)
    turns = np.linspace(0, 8 * np.pi, 400)
    spiral = np.stack([45 + turns * np.cos(turns), 32 + turns * np.sin(turns)], 1)
    cv2.polylines(rings[2], [spiral.round().astype(np.int32)], False, 1)
    rings[3, :, ::2] = 1  # combs: many components become one in the last row
    rings[3, -1] = 1
    rings[4, ::2] = 1
    rings[4, :, 50] = 1
    assert_as_opencv(rings)
    assert_as_opencv(rings[:, ::-1])
    assert_as_opencv(rings.transpose(0, 2, 1))


def test_blobs():
    rng = np.random.default_rng(1)
    masks = np.zeros((20, 200, 300), np.uint8)
    for mask in masks:
        for _ in range(3):
            corners = rng.integers(-20, 320, (6, 2))
            cv2.fillPoly(mask, [corners.astype(np.int32)], int(rng.integers(0, 256)))
    assert_as_opencv(masks)


@pytest.mark.parametrize('shape', [(0, 4, 5), (3, 0, 5), (3, 4, 0)])
def test_nothing_to_look_at(shape):
    points, offsets = largest_contours(torch.zeros(shape, dtype=torch.uint8))
    assert points.shape == (0, 2)
    assert offsets.tolist() == [0] * (shape[0] + 1)


def same(one, other):
    return all(map(torch.equal, one, other))


def test_views_bools_and_threads():
    masks = torch.from_numpy(random_masks(40, 60, 50, 0.6))
    expected = largest_contours(masks)
    assert same(largest_contours(masks > 0), expected)
    turned = masks.transpose(1, 2)
    assert same(largest_contours(turned), largest_contours(turned.contiguous()))
    assert same(
        largest_contours(masks[1::3, 2:, 3:]), largest_contours(masks[1::3, 2:, 3:].clone())
    )
    large = masks.repeat(1, 10, 10)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        single = largest_contours(large)
        torch.set_num_threads(3)
        assert same(largest_contours(large), single)
    finally:
        torch.set_num_threads(threads)


def test_opcheck():
    torch.library.opcheck(OP, (torch.from_numpy(random_masks(20, 30)),))


def test_compiles_as_one_graph():
    def call(masks):
        points, offsets = largest_contours(masks)
        return points + 1, offsets.diff()

    masks = torch.from_numpy(random_masks(20, 30))
    compiled = torch.compile(call, backend='aot_eager', fullgraph=True)
    assert same(compiled(masks), call(masks))


def test_exports_with_any_number_of_masks():
    class Contours(torch.nn.Module):
        def forward(self, masks):
            points, offsets = largest_contours(masks)
            return points + 1, offsets

    masks = torch.from_numpy(random_masks(20, 30))
    dynamic = ({0: torch.export.Dim('masks')},)
    exported = torch.export.export(Contours(), (masks,), dynamic_shapes=dynamic).module()
    assert same(exported(masks[:5]), Contours()(masks[:5]))


@pytest.mark.parametrize(
    ('masks', 'error', 'sentence'),
    [
        (torch.zeros(2, 3, 3), TypeError, 'masks must be uint8 or bool, got'),
        (torch.zeros(3, 3, dtype=torch.bool), ValueError, r'must have shape \(n, h, w\), got'),
        (
            torch.zeros(1, dtype=torch.uint8).expand(1, 2**24 + 1, 1),
            ValueError,
            'up to 16777216 rows and columns',
        ),
    ],
)
def test_refuses_with_a_sentence(masks, error, sentence):
    with pytest.raises(error, match=f'largest_contours: .*{sentence}'):
        largest_contours(masks)


@pytest.mark.parametrize(
    ('masks', 'error', 'sentence'),
    [
        (torch.zeros(2, 3, 3), TypeError, 'masks must be uint8 or bool, got'),
        (torch.zeros(3, 3, dtype=torch.bool), ValueError, r'must have shape \(n, h, w\), got'),
    ],
)
def test_tracing_refuses_the_same(masks, error, sentence):
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(masks)
        with pytest.raises(error, match=f'largest_contours: .*{sentence}'):
            largest_contours(fake)


@pytest.mark.gpu
def test_cuda_equals_cpu():
    masks = torch.from_numpy(random_masks(20, 30))
    points, offsets = largest_contours(masks.cuda())
    assert points.is_cuda
    assert offsets.is_cuda
    assert same((points.cpu(), offsets.cpu()), largest_contours(masks))
