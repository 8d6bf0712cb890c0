"""deform_conv2d against mmcv, against a reference written anew here, and where nothing is read."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_sets import CAPABILITIES, run_with
from mmcv.ops import deform_conv2d as mmcv_deform_conv2d
from mmcv.ops import modulated_deform_conv2d
from torch.nn import functional as F

from polarseg.ops import deform_conv2d


@dataclass
class Case:
    """Tensors and geometry of a call."""

    tensors: dict
    geometry: dict

    def __call__(self, **replaced):
        return deform_conv2d(**(self.tensors | replaced), **self.geometry)

    def gradients(self, output, grad):
        """Of the tensors that take part, by name."""
        names = [name for name, tensor in self.tensors.items() if tensor is not None]
        grads = torch.autograd.grad(output, [self.tensors[name] for name in names], grad)
        return dict(zip(names, grads))


def make_case(
    batch=2,
    channels=8,
    outs=6,
    size=(7, 9),
    kernel=(3, 3),
    stride=(1, 1),
    padding=(1, 1),
    dilation=(1, 1),
    groups=1,
    deform_groups=1,
    modulated=True,
    spread=2.0,
    dtype=torch.float64,
    seed=0,
):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    out_size = [
        (size[a] + 2 * padding[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1
        for a in range(2)
    ]
    planes = deform_groups * kernel[0] * kernel[1]
    tensors = dict(
        input=normal(batch, channels, *size),
        offset=spread * normal(batch, 2 * planes, *out_size),
        weight=normal(outs, channels // groups, *kernel),
        bias=normal(outs) if modulated else None,
        mask=normal(batch, planes, *out_size).sigmoid() if modulated else None,
    )
    for tensor in tensors.values():
        if tensor is not None:
            tensor.requires_grad_()
    geometry = dict(
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        deform_groups=deform_groups,
    )
    return Case(tensors, geometry)


# ---- references ----------------------------------------------------------------------------------


def mmcv_result(case):
    t, g = case.tensors, case.geometry
    rest = (g['stride'], g['padding'], g['dilation'], g['groups'], g['deform_groups'])
    if t['mask'] is None:
        return mmcv_deform_conv2d(t['input'], t['offset'], t['weight'], *rest)
    return modulated_deform_conv2d(
        t['input'], t['offset'], t['mask'], t['weight'], t['bias'], *rest
    )


def written_out(case):
    """The definition by grid_sample of the input with a border of two zeros."""
    t, g = case.tensors, case.geometry
    kh, kw = t['weight'].shape[2:]
    batch, channels, height, width = t['input'].shape
    out_h, out_w = t['offset'].shape[2:]
    offset = t['offset'].view(batch, g['deform_groups'], kh * kw, 2, out_h, out_w)
    framed = F.pad(t['input'], (2, 2, 2, 2)).chunk(g['deform_groups'], 1)
    samples = []
    for d in range(g['deform_groups']):
        for k in range(kh * kw):
            rows = torch.arange(out_h) * g['stride'][0] - g['padding'][0]
            columns = torch.arange(out_w) * g['stride'][1] - g['padding'][1]
            y = rows[:, None] + k // kw * g['dilation'][0] + offset[:, d, k, 0]
            x = columns[None] + k % kw * g['dilation'][1] + offset[:, d, k, 1]
            grid = torch.stack([(x + 2) * 2 / (width + 3) - 1, (y + 2) * 2 / (height + 3) - 1], -1)
            value = F.grid_sample(framed[d], grid, 'bilinear', 'zeros', align_corners=True)
            if t['mask'] is not None:
                value = value * t['mask'][:, d * kh * kw + k, None]
            samples.append(value)
    samples = torch.stack(samples, 1).unflatten(1, (g['deform_groups'], kh * kw))
    columns = samples.transpose(2, 3).reshape(batch, g['groups'], -1, kh * kw, out_h, out_w)
    weight = t['weight'].view(g['groups'], -1, channels // g['groups'], kh * kw)
    output = torch.einsum('ngckhw,gock->ngohw', columns, weight).flatten(1, 2)
    return output if t['bias'] is None else output + t['bias'].view(-1, 1, 1)


def assert_same(case, reference, tolerance):
    """Output and every gradient, relative to the largest number of each."""
    output, expected = case(), reference(case)
    assert output.shape == expected.shape
    assert output.is_contiguous()
    assert output.dtype == expected.dtype
    assert (output - expected).abs().max() <= tolerance * expected.abs().max()
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    actual, wanted = case.gradients(output, grad), case.gradients(expected, grad)
    for name, value in wanted.items():
        error = (actual[name] - value).abs().max()
        assert error <= tolerance * value.abs().max(), f'{name}: {error}'


VARIANTS = {
    'plain': dict(),
    'v1': dict(modulated=False),
    'stride, dilation': dict(stride=(2, 2), dilation=(2, 2), padding=(2, 2), size=(13, 11)),
    'uneven': dict(kernel=(3, 5), stride=(2, 1), padding=(0, 3), dilation=(1, 2), size=(8, 14)),
    '1x1': dict(kernel=(1, 1), padding=(0, 0)),
    '5x5': dict(kernel=(5, 5), padding=(2, 2)),
    'groups': dict(channels=24, outs=12, groups=3, deform_groups=2),
    'v1 groups': dict(channels=24, outs=12, groups=2, deform_groups=4, modulated=False),
    'depthwise': dict(channels=20, outs=20, groups=20),
    'wide': dict(channels=150, outs=140, size=(11, 13)),
    'wide groups': dict(channels=160, outs=80, groups=2, deform_groups=2, size=(5, 6)),
    'blocks across groups': dict(channels=144, outs=72, groups=3, deform_groups=1),
    'several chunks': dict(channels=5, outs=3, size=(19, 23)),
    'one row': dict(size=(1, 12)),
}


# ---- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize('options', VARIANTS.values(), ids=VARIANTS)
def test_equals_mmcv_in_double(options):
    assert_same(make_case(**options), mmcv_result, 1e-12)


@pytest.mark.parametrize('options', VARIANTS.values(), ids=VARIANTS)
def test_equals_mmcv_in_single(options):
    assert_same(make_case(**options, dtype=torch.float32), mmcv_result, 1e-5)


@pytest.mark.parametrize('options', VARIANTS.values(), ids=VARIANTS)
def test_equals_the_definition(options):
    assert_same(make_case(**options), written_out, 1e-10)


@st.composite
def options_of_cases(draw):
    def pair(low, high):
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    kernel = draw(st.sampled_from([(1, 1), (3, 3), (5, 5), (2, 3), (3, 1)]))
    dilation, padding = pair(1, 2), pair(0, 3)
    least = [max(1, dilation[a] * (kernel[a] - 1) + 1 - 2 * padding[a]) for a in range(2)]
    groups, deform_groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return dict(
        batch=draw(st.integers(1, 3)),
        channels=math.lcm(groups, deform_groups) * draw(st.integers(1, 4)),
        outs=groups * draw(st.integers(1, 5)),
        size=tuple(least[a] + draw(st.integers(0, 8)) for a in range(2)),
        kernel=kernel,
        stride=pair(1, 3),
        padding=padding,
        dilation=dilation,
        groups=groups,
        deform_groups=deform_groups,
        modulated=draw(st.booleans()),
        spread=draw(st.sampled_from([0.0, 0.3, 3.0, 100.0])),
        seed=draw(st.integers(0, 1000)),
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(options_of_cases())
def test_equals_the_definition_for_any_geometry(options):
    case = make_case(**options)
    output, expected = case(), written_out(case)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-10)
    if options['spread'] == 0:
        return  # on pixels the definition has no derivative by the offset
    grad = torch.ones_like(output)
    actual, wanted = case.gradients(output, grad), case.gradients(expected, grad)
    for name, value in wanted.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('stride', [1, 2])
def test_without_offsets_it_is_the_ordinary_convolution(stride):
    case = make_case(stride=(stride, stride), groups=2, channels=36, outs=40, dtype=torch.float32)
    t = case.tensors
    output = case(offset=torch.zeros_like(t['offset']), mask=torch.ones_like(t['mask']))
    expected = F.conv2d(t['input'], t['weight'], t['bias'], stride, 1, 1, 2)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    'options',
    [
        dict(channels=4, outs=3, size=(4, 5)),
        dict(channels=4, outs=2, size=(5, 4), modulated=False, stride=(2, 1), dilation=(1, 2)),
        dict(channels=4, outs=4, size=(4, 4), groups=2, deform_groups=2, kernel=(2, 2)),
    ],
)
def test_gradcheck(options):
    case = make_case(**options, batch=1, spread=0.7)
    names = [name for name, tensor in case.tensors.items() if tensor is not None]
    assert torch.autograd.gradcheck(
        lambda *tensors: case(**dict(zip(names, tensors))),
        [case.tensors[name] for name in names],
    )


# ---- points that read nothing --------------------------------------------------------------------


@pytest.mark.parametrize('far', [50.0, -50.0, 1e30, -1e30, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_points_far_outside_and_not_finite_read_zero_and_have_no_gradient(far, dtype):
    case = make_case(dtype=dtype, channels=40)
    offset = case.tensors['offset']
    with torch.no_grad():
        offset[:, ::5] = far
    output = case()
    dead = torch.zeros_like(offset, dtype=torch.bool)
    dead[:, ::5] = True
    dead = dead[:, ::2] | dead[:, 1::2]  # of a point whose y or x is far
    mask = torch.where(dead, 0, case.tensors['mask'])
    expected = case(offset=torch.where(dead.repeat_interleave(2, 1), 0, offset), mask=mask)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
    grads = case.gradients(output, torch.ones_like(output))
    assert all(grad.isfinite().all() for grad in grads.values())
    assert (grads['offset'][dead.repeat_interleave(2, 1)] == 0).all()
    assert (grads['mask'][dead] == 0).all()


@pytest.mark.parametrize(('y', 'expected'), [(-1, 0), (-0.75, 0.25), (2.75, 0.25), (3, 0)])
def test_the_border_fades_over_one_pixel(y, expected):
    image = torch.ones(1, 1, 3, 3)
    offset = torch.tensor([float(y), 1.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3).clone()
    offset -= torch.stack(torch.meshgrid(*[torch.arange(3.0)] * 2, indexing='ij'))
    output = deform_conv2d(image, offset, torch.ones(1, 1, 1, 1))
    torch.testing.assert_close(output, torch.full((1, 1, 3, 3), float(expected)))


def test_corners_outside_are_zero_and_not_zero_times_something():
    image = torch.full((1, 20, 2, 2), math.inf)
    image[:, :, 0] = 1
    offset = torch.full((1, 2, 2, 2), -0.5)  # the upper row reads above the image and row 0 only
    output = deform_conv2d(image, offset, torch.ones(1, 20, 1, 1))
    torch.testing.assert_close(output[0, 0, 0], torch.tensor([5.0, 10.0]))


def test_without_pixels_there_is_the_bias():
    bias = torch.arange(3.0)
    image, offset = torch.zeros(2, 4, 0, 5), torch.zeros(2, 18, 2, 5)
    output = deform_conv2d(image, offset, torch.ones(3, 4, 3, 3), bias, padding=(2, 1))
    assert torch.equal(output, bias.view(1, 3, 1, 1).expand(2, 3, 2, 5))


# ---- layouts, dtypes, threads --------------------------------------------------------------------


@pytest.mark.parametrize('groups', [1, 2])
def test_memory_layout_does_not_matter(groups):
    case = make_case(groups=groups)
    expected = case()
    layouts = {
        'channels last': lambda t: t.to(memory_format=torch.channels_last),
        'strided': lambda t: torch.cat([t, t], 1)[:, : t.shape[1]],
        'transposed': lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
    }
    for change in layouts.values():
        four = {name: change(t) for name, t in case.tensors.items() if t.dim() == 4}
        output = case(**four)
        assert torch.equal(output, expected)
        grad = change(torch.ones_like(output))
        for name, value in case.gradients(output, grad).items():
            assert torch.equal(value, case.gradients(case(), torch.ones_like(output))[name])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_single_precision_rounded_once(dtype):
    case = make_case(dtype=dtype, channels=32)
    single = {
        name: tensor.detach().float().requires_grad_() for name, tensor in case.tensors.items()
    }
    output, expected = case(), Case(single, case.geometry)()
    assert torch.equal(output, expected.to(dtype))
    grads = case.gradients(output, torch.ones_like(output))
    wanted = Case(single, case.geometry).gradients(expected, torch.ones_like(expected))
    for name in ('input', 'offset', 'weight', 'mask'):
        assert torch.equal(grads[name], wanted[name].to(dtype))


@pytest.mark.parametrize('options', [dict(channels=150, size=(15, 17)), dict(groups=2)])
def test_number_of_threads_does_not_matter(options):
    case = make_case(**options, dtype=torch.float32)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            output = case()
            grads = case.gradients(output, torch.ones_like(output))
            grads.pop('bias')  # torch's own sum
            results.append([output, *grads.values()])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


@pytest.mark.parametrize('batch', [0, 1, 3])
def test_a_batch_is_its_samples(batch):
    case = make_case(batch=batch)
    parts = ('input', 'offset', 'mask')
    output = case()
    assert output.shape[0] == batch
    for n in range(batch):
        single = case(**{name: case.tensors[name][n : n + 1] for name in parts})
        assert torch.equal(output[n : n + 1], single)
    grads = case.gradients(output, torch.ones_like(output))
    assert all(grads[name].shape == tensor.shape for name, tensor in case.tensors.items())
    if batch == 0:
        assert (grads['weight'] == 0).all()
        assert (grads['bias'] == 0).all()


@pytest.mark.parametrize('capability', CAPABILITIES)
def test_every_instruction_set_gives_the_same(capability, tmp_path):
    case = make_case(channels=150, outs=70, size=(9, 10), dtype=torch.float32)
    output = case()
    expected = [output, *case.gradients(output, torch.ones_like(output)).values()]
    paths = tmp_path / 'case.pt', tmp_path / 'result.pt'
    torch.save((case.tensors, case.geometry), paths[0])
    code = (
        'import sys, torch; from polarseg.ops import deform_conv2d; '
        'tensors, geometry = torch.load(sys.argv[1]); output = deform_conv2d(**tensors, **geometry)'
        '; grads = torch.autograd.grad(output, list(tensors.values()), torch.ones_like(output)); '
        'torch.save([output.detach(), *grads], sys.argv[2])'
    )
    run_with(capability, code, *paths)
    for actual, wanted in zip(torch.load(paths[1]), expected):
        assert (actual - wanted).abs().max() <= 1e-5 * wanted.abs().max()
