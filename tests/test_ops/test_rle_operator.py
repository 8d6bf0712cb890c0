"""polygons_to_rle and paste_masks_to_rle as operators: checks of torch, tracing, CUDA."""

import pytest
import torch

from polarseg.ops import paste_masks_to_rle, polygons_to_rle

OPS = torch.ops.polarseg


def polygon_arguments(rule='fill'):
    generator = torch.Generator().manual_seed(0)
    vertices = torch.rand(11, 2, generator=generator) * 40
    return vertices, torch.tensor([0, 4, 4, 11]), 30, 40, rule


def paste_arguments(rule='half_pixel'):
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(3, 7, 7, generator=generator)
    boxes = torch.tensor([[1.0, 2, 20, 25], [3.5, -4, 9, 12], [50, 50, 60, 60]])
    return masks, boxes, 30, 40, 0.5, rule


CASES = [
    *((OPS.polygons_to_rle, polygon_arguments(rule)) for rule in ('fill', 'fill-4.8', 'coco')),
    *((OPS.paste_masks_to_rle, paste_arguments(rule)) for rule in ('half_pixel', 'integer_box')),
]
EACH = pytest.mark.parametrize(('op', 'arguments'), CASES, ids=lambda case: str(case)[:40])


def assert_same(actual, expected):
    for mine, other in zip(actual, expected, strict=True):
        assert torch.equal(mine, other)


@EACH
def test_result(op, arguments):
    text, offsets = op(*arguments)
    assert text.dtype == torch.uint8
    assert offsets.dtype == torch.int64
    assert offsets[0] == 0
    assert offsets[-1] == len(text)
    assert (offsets.diff() > 0).all()


@EACH
def test_opcheck(op, arguments):
    torch.library.opcheck(op.default, arguments)


@EACH
def test_compiles_as_one_graph(op, arguments):
    def call(first, second):
        text, offsets = op(first, second, *arguments[2:])
        return text + 0, offsets.diff()

    expected = call(*arguments[:2])
    assert_same(torch.compile(call, backend='aot_eager', fullgraph=True)(*arguments[:2]), expected)


@EACH
def test_exports(op, arguments):
    class Module(torch.nn.Module):
        def forward(self, first, second):
            return op(first, second, *arguments[2:])

    program = torch.export.export(Module(), arguments[:2])
    assert_same(program.module()(*arguments[:2]), op(*arguments))


@pytest.mark.parametrize(
    ('op', 'arguments', 'sentence'),
    [
        (OPS.polygons_to_rle, (*polygon_arguments()[:4], 'cv2'), 'rule must be one of'),
        (OPS.paste_masks_to_rle, (*paste_arguments()[:5], 'cv2'), 'rule must be one of'),
        (
            OPS.paste_masks_to_rle,
            (torch.zeros(2, 7, 7), *paste_arguments()[1:]),
            'one box for each mask',
        ),
        (OPS.polygons_to_rle, (*polygon_arguments()[:2], -1, 4), 'height and width'),
    ],
    ids=['polygon rule', 'paste rule', 'boxes', 'size'],
)
def test_tracing_refuses_what_running_refuses(op, arguments, sentence):
    with pytest.raises(ValueError):
        op(*arguments)
    meta = [part.to('meta') if isinstance(part, torch.Tensor) else part for part in arguments]
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = [mode.from_tensor(part) if isinstance(part, torch.Tensor) else part for part in meta]
        with pytest.raises(ValueError, match=sentence):
            op(*fake)


@pytest.mark.parametrize(
    ('vertices', 'offsets', 'error', 'sentence'),
    [
        (torch.zeros(4, 2).half(), torch.tensor([0, 4]), TypeError, 'float32 or float64, got Half'),
        (torch.zeros(8), torch.tensor([0, 4]), ValueError, r'shape \(p, 2\).*got \[8\]'),
        (torch.zeros(4, 2), torch.tensor([0.0, 4]), TypeError, 'int64 or int32, got Float'),
        (torch.zeros(4, 2), torch.zeros(0).long(), ValueError, 'one entry more than'),
        (torch.zeros(4, 2), torch.tensor([1, 4]), ValueError, 'must begin with 0, got 1'),
        (torch.zeros(4, 2), torch.tensor([0, 3, 2, 4]), ValueError, r'offsets\[2\] is 2'),
        (torch.zeros(4, 2), torch.tensor([0, 3]), ValueError, 'number of vertices, 4, got 3'),
    ],
    ids=str,
)
def test_packed_polygons_are_checked(vertices, offsets, error, sentence):
    with pytest.raises(error, match=sentence):
        OPS.polygons_to_rle(vertices, offsets, 9, 9)


def test_offsets_may_be_int32():
    vertices, offsets, *rest = polygon_arguments()
    assert_same(
        OPS.polygons_to_rle(vertices, offsets.int(), *rest),
        OPS.polygons_to_rle(vertices, offsets, *rest),
    )


@pytest.mark.gpu
def test_cuda_tensors_give_what_the_cpu_gives():
    vertices = torch.rand(5, 36, 2) * 60
    assert polygons_to_rle(vertices.cuda(), 50, 60) == polygons_to_rle(vertices, 50, 60)
    assert polygons_to_rle(list(vertices.cuda()), 50, 60) == polygons_to_rle(vertices, 50, 60)
    masks, boxes = paste_arguments()[:2]
    pasted = paste_masks_to_rle(masks.cuda(), boxes.cuda(), 30, 40)
    assert pasted == paste_masks_to_rle(masks, boxes, 30, 40)
