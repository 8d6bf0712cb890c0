"""deform_conv2d as an operator: refusals, autograd, autocast, tracing, CUDA."""

import numpy as np
import pytest
import torch

from polarseg.ops import deform_conv2d

DEFAULTS = dict(stride=1, padding=1, dilation=1, groups=1, deform_groups=1)


def arguments(**replaced):
    """A modulated 3x3 convolution of 4 to 6 channels, by keyword."""
    generator = torch.Generator().manual_seed(0)
    values = DEFAULTS | {
        'input': torch.randn(2, 4, 5, 6, generator=generator),
        'offset': torch.randn(2, 18, 5, 6, generator=generator),
        'weight': torch.randn(6, 4, 3, 3, generator=generator),
        'bias': torch.randn(6, generator=generator),
        'mask': torch.rand(2, 9, 5, 6, generator=generator),
    }
    assert set(replaced) <= set(values)
    return values | replaced


def in_order(values):
    """Positional arguments of the operator itself."""
    pairs = ('stride', 'padding', 'dilation')
    names = ('input', 'offset', 'weight', 'bias', *pairs, 'mask', 'groups', 'deform_groups')
    return tuple([values[n]] * 2 if n in pairs else values[n] for n in names)


def requiring_grad(values, names=('input', 'offset', 'weight', 'bias', 'mask')):
    return values | {name: values[name].clone().requires_grad_() for name in names}


# ---- refusals ------------------------------------------------------------------------------------

REFUSALS = [
    ({'input': torch.zeros(2, 4, 5, 6).int()}, TypeError, 'input must be float32'),
    ({'input': torch.zeros(4, 5, 6)}, ValueError, 'input must have 4 dimensions'),
    ({'offset': torch.zeros(2, 18, 5, 6).double()}, TypeError, 'offset is .* but input is'),
    ({'weight': torch.zeros(6, 4, 3, 3).half()}, TypeError, 'weight is .* but input is'),
    ({'mask': torch.zeros(2, 9, 5, 6).bfloat16()}, TypeError, 'mask is .* but input is'),
    ({'bias': torch.zeros(6).double()}, TypeError, 'bias is .* but input is'),
    ({'offset': torch.zeros(18, 5, 6)}, ValueError, 'offset must have 4 dimensions'),
    ({'weight': torch.zeros(6, 4, 9)}, ValueError, 'weight must have 4 dimensions'),
    ({'weight': torch.zeros(0, 4, 3, 3)}, ValueError, 'weight must not be empty'),
    ({'bias': torch.zeros(6, 1)}, ValueError, 'bias must have 1 dimensions'),
    ({'bias': torch.zeros(5)}, ValueError, 'bias must have 6 entries, got 5'),
    ({'weight': torch.zeros(6, 2, 3, 3)}, ValueError, 'weight must have 4 input channels'),
    ({'groups': 3}, ValueError, 'groups must divide the 4 .*channels, got 3'),
    ({'weight': torch.zeros(5, 2, 3, 3), 'groups': 2}, ValueError, 'groups must divide the 5'),
    ({'groups': 0}, ValueError, 'groups must be at least 1, got 0'),
    ({'deform_groups': 3}, ValueError, 'deform_groups must divide the 4 .*channels, got 3'),
    ({'deform_groups': -1}, ValueError, 'deform_groups must be at least 1, got -1'),
    ({'stride': 0}, ValueError, 'stride must be at least 1'),
    ({'stride': (1, -2)}, ValueError, 'stride must be at least 1'),
    ({'padding': -1}, ValueError, 'padding must be at least 0'),
    ({'dilation': 0}, ValueError, 'dilation must be at least 1'),
    ({'padding': 0, 'dilation': 3}, ValueError, 'too small for the kernel; the output would be'),
    ({'offset': torch.zeros(2, 9, 5, 6)}, ValueError, r'offset must have shape \[2, 18, 5, 6\]'),
    ({'offset': torch.zeros(1, 18, 5, 6)}, ValueError, r'offset must have shape \[2, 18, 5, 6\]'),
    ({'stride': 2}, ValueError, r'offset must have shape \[2, 18, 3, 3\]'),
    ({'deform_groups': 2}, ValueError, r'offset must have shape \[2, 36, 5, 6\]'),
    ({'mask': torch.zeros(2, 18, 5, 6)}, ValueError, r'mask must have shape \[2, 9, 5, 6\]'),
    ({'mask': torch.zeros(2, 9, 5, 5)}, ValueError, r'mask must have shape \[2, 9, 5, 6\]'),
    ({'mask': torch.zeros(2, 9, 30)}, ValueError, 'mask must have 4 dimensions'),
]


@pytest.mark.parametrize(('replaced', 'error', 'sentence'), REFUSALS)
def test_refuses_with_a_sentence(replaced, error, sentence):
    with pytest.raises(error, match='deform_conv2d: .*' + sentence):
        deform_conv2d(**arguments(**replaced))


@pytest.mark.parametrize(('replaced', 'error', 'sentence'), REFUSALS)
def test_tracing_refuses_the_same(replaced, error, sentence):
    values = arguments(**replaced)
    metas = {k: v.to('meta') if torch.is_tensor(v) else v for k, v in values.items()}
    with pytest.raises(error, match='deform_conv2d: .*' + sentence):
        deform_conv2d(**metas)


@pytest.mark.parametrize('name', ['offset', 'weight', 'bias', 'mask'])
def test_refuses_mixed_devices(name):
    metas = {k: v.to('meta') if torch.is_tensor(v) else v for k, v in arguments().items()}
    metas[name] = arguments()[name]
    with pytest.raises(ValueError, match=f'deform_conv2d: {name} is on cpu but input is on meta'):
        deform_conv2d(**metas)


def test_accepts_what_the_refusals_start_from():
    assert deform_conv2d(**arguments()).shape == (2, 6, 5, 6)


@pytest.mark.parametrize('name', ['stride', 'padding', 'dilation'])
def test_refuses_numbers_that_would_overflow(name):
    with pytest.raises(ValueError, match=f'deform_conv2d: {name} must be at most 2147483647'):
        deform_conv2d(**arguments(**{name: 2**62}))


def test_refuses_a_kernel_whose_reach_would_overflow():
    # of such a size only as a view that repeats one element
    weight = torch.zeros(6, 4, 1, 1).expand(-1, -1, 1, 2**33 + 1)
    with pytest.raises(ValueError, match='deform_conv2d: the input is too small for the kernel'):
        deform_conv2d(**arguments(weight=weight, mask=None, dilation=2**31 - 1))
    with pytest.raises(ValueError, match='deform_conv2d: weight may have at most 2'):
        deform_conv2d(**arguments(weight=weight.expand(-1, -1, 2**20, -1)))


def test_refuses_planes_whose_pixels_cannot_be_counted():
    empty = arguments(input=torch.zeros(0, 4, 5, 6), mask=None, padding=2**31 - 1)
    out = [size + 2 * (2**31 - 1) - 2 for size in (5, 6)]
    empty['offset'] = torch.zeros(1).expand(0, 18, *out)
    with pytest.raises(ValueError, match='deform_conv2d: the output may have at most 2'):
        deform_conv2d(**empty)
    empty['input'] = torch.zeros(1).expand(0, 4, 2**33, 2**33)
    with pytest.raises(ValueError, match='deform_conv2d: input may have at most 2'):
        deform_conv2d(**empty)


@pytest.mark.parametrize('stride', [(1, 1, 1), ()])
def test_refuses_other_than_pairs(stride):
    sentence = f'stride must be one or two integers, got {len(stride)} of them'
    with pytest.raises(ValueError, match=sentence):
        deform_conv2d(**arguments(stride=stride))


@pytest.mark.parametrize('one', [[2], (2,), np.int64(2)])
def test_one_number_counts_for_both_axes(one):
    values = arguments(offset=torch.randn(2, 18, 3, 3), mask=torch.rand(2, 9, 3, 3))
    expected = deform_conv2d(**values | {'stride': (2, 2)})
    assert torch.equal(deform_conv2d(**values | {'stride': one}), expected)


def test_backward_refuses_a_gradient_of_another_shape():
    *tensors, stride, padding, dilation, mask, groups, deform_groups = in_order(arguments())
    input, offset, weight, _ = tensors
    with pytest.raises(ValueError, match=r'gradient of the output must have shape \[2, 6, 5, 6\]'):
        torch.ops.polarseg.deform_conv2d_backward(
            torch.zeros(2, 6, 5, 5),
            input,
            offset,
            weight,
            mask,
            stride,
            padding,
            dilation,
            groups,
            deform_groups,
            [True] * 4,
        )


# ---- autograd ------------------------------------------------------------------------------------

NAMES = ('input', 'offset', 'weight', 'bias', 'mask')


@pytest.mark.parametrize('name', NAMES)
def test_each_gradient_alone_is_the_same(name):
    everything, alone = requiring_grad(arguments()), requiring_grad(arguments(), [name])
    grad = torch.linspace(-1, 1, 360).view(2, 6, 5, 6)
    deform_conv2d(**everything).backward(grad)
    deform_conv2d(**alone).backward(grad)
    assert torch.equal(alone[name].grad, everything[name].grad)
    assert all(alone[other].grad is None for other in NAMES if other != name)


@pytest.mark.parametrize('wanted', range(16))
def test_the_backward_operator_computes_what_is_asked_for(wanted):
    flags = [bool(wanted >> bit & 1) for bit in range(4)]
    input, offset, weight, _, *geometry, mask, groups, parts = in_order(arguments())
    grad = torch.ones(2, 6, 5, 6)
    rest = (*geometry, groups, parts)
    operator = torch.ops.polarseg.deform_conv2d_backward
    results = operator(grad, input, offset, weight, mask, *rest, flags)
    complete = operator(grad, input, offset, weight, mask, *rest, [True] * 4)
    for flag, result, full in zip(flags, results, complete):
        assert torch.equal(result, full if flag else torch.empty(0))


def test_without_a_mask_there_is_no_gradient_of_it():
    input, offset, weight, _, *geometry, _, groups, parts = in_order(arguments())
    grad = torch.ones(2, 6, 5, 6)
    operator = torch.ops.polarseg.deform_conv2d_backward
    results = operator(grad, input, offset, weight, None, *geometry, groups, parts, [True] * 4)
    assert [list(r.shape) for r in results[:3]] == [list(t.shape) for t in (input, offset, weight)]
    assert results[3].shape == (0,)


def test_two_derivatives_are_refused_with_a_sentence():
    values = requiring_grad(arguments())
    (grad,) = torch.autograd.grad(
        deform_conv2d(**values).square().sum(), values['input'], create_graph=True
    )
    with pytest.raises(RuntimeError, match='can be differentiated once only'):
        grad.sum().backward()


def test_defaults_are_those_of_a_convolution():
    values = arguments()
    output = deform_conv2d(values['input'], torch.zeros(2, 18, 3, 4), values['weight'])
    expected = torch.nn.functional.conv2d(values['input'], values['weight'])
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)


# ---- autocast ------------------------------------------------------------------------------------


@pytest.mark.parametrize('mixed', ['offset', 'input', 'weight'])
def test_autocast_on_the_cpu_is_single_precision(mixed):
    values = arguments()
    values[mixed] = values[mixed].bfloat16()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        output = deform_conv2d(**values)
    values[mixed] = values[mixed].float()
    assert output.dtype == torch.float32
    assert torch.equal(output, deform_conv2d(**values))


def test_gradients_under_autocast_have_the_dtype_of_their_tensors():
    values = requiring_grad(arguments())
    values['offset'] = values['offset'].detach().bfloat16().requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        deform_conv2d(**values).sum().backward()
    for name in NAMES:
        assert values[name].grad.dtype == values[name].dtype


# ---- tracing, compiling --------------------------------------------------------------------------

MODES = pytest.mark.parametrize('modulated', [True, False])


def tensors_of(modulated, grad=False):
    values = arguments() if modulated else arguments(mask=None, bias=None)
    names = [name for name in NAMES if values[name] is not None]
    return requiring_grad(values, names) if grad else values


@MODES
def test_opcheck(modulated):
    operator = torch.ops.polarseg.deform_conv2d.default
    torch.library.opcheck(operator, in_order(tensors_of(modulated)))
    torch.library.opcheck(operator, in_order(tensors_of(modulated, grad=True)))


@MODES
def test_opcheck_of_the_backward_operator(modulated):
    input, offset, weight, _, *geometry, mask, groups, parts = in_order(tensors_of(modulated))
    grad = torch.ones(2, 6, 5, 6)
    for flags in ([True] * 4, [False, True, False, True], [True, False, False, False]):
        torch.library.opcheck(
            torch.ops.polarseg.deform_conv2d_backward.default,
            (grad, input, offset, weight, mask, *geometry, groups, parts, flags),
        )


class Layer(torch.nn.Module):
    """What a network does with the operator."""

    def __init__(self):
        super().__init__()
        values = arguments()
        self.weight = torch.nn.Parameter(values['weight'])
        self.bias = torch.nn.Parameter(values['bias'])
        self.point = torch.nn.Conv2d(4, 27, 3, padding=1)

    def forward(self, x):
        first, second, mask = self.point(x.relu()).chunk(3, 1)
        offset = torch.cat([first, second], 1)
        output = deform_conv2d(x, offset, self.weight, self.bias, padding=1, mask=mask.sigmoid())
        return output.relu()


@pytest.mark.parametrize('dynamic', [False, True])
def test_compiles_forward_and_backward_in_one_graph(dynamic):
    torch.compiler.reset()
    torch.manual_seed(0)
    layer = Layer()
    compiled = torch.compile(layer, backend='aot_eager', fullgraph=True, dynamic=dynamic)
    for size in ((5, 6), (7, 9)):
        x = torch.randn(2, 4, *size)
        grads = []
        for module in (layer, compiled):
            layer.zero_grad()
            output = module(x)
            output.square().sum().backward()
            grads.append([output.detach(), *[p.grad.clone() for p in layer.parameters()]])
        for actual, expected in zip(*grads):
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_exports_with_any_batch_and_size():
    layer = Layer().eval()
    dims = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(layer, (torch.randn(2, 4, 12, 16),), dynamic_shapes=(dims,))
    names = [str(node.target) for node in program.graph.nodes]
    assert 'polarseg.deform_conv2d.default' in names
    x = torch.randn(3, 4, 9, 11)
    torch.testing.assert_close(program.module()(x), layer(x))


def test_meta_tensors_give_shape_and_dtype():
    metas = {k: v.to('meta').half() if torch.is_tensor(v) else v for k, v in arguments().items()}
    output = deform_conv2d(**metas)
    assert (output.shape, output.dtype, output.device.type) == ((2, 6, 5, 6), torch.half, 'meta')


# ---- CUDA ----------------------------------------------------------------------------------------

CUDA_CASES = {
    'modulated': dict(channels=64, outs=32),
    'v1': dict(channels=16, outs=24, modulated=False),
    'groups': dict(channels=48, outs=24, groups=2, deform_groups=4),
    'odd channels': dict(channels=5, outs=7),
    'stride': dict(channels=32, outs=16, stride=2, dilation=2, padding=2),
}


def cuda_case(channels, outs, groups=1, deform_groups=1, modulated=True, **geometry):
    geometry = DEFAULTS | geometry | dict(groups=groups, deform_groups=deform_groups)
    generator = torch.Generator().manual_seed(1)
    stride, padding, dilation = geometry['stride'], geometry['padding'], geometry['dilation']
    size = [(n + 2 * padding - 2 * dilation - 1) // stride + 1 for n in (19, 23)]
    planes = 9 * deform_groups

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return geometry | {
        'input': normal(2, channels, 19, 23),
        'offset': 2 * normal(2, 2 * planes, *size),
        'weight': normal(outs, channels // groups, 3, 3) / 10,
        'bias': normal(outs) if modulated else None,
        'mask': normal(2, planes, *size).sigmoid() if modulated else None,
    }


def outputs_and_gradients(values, device, dtype):
    values = {
        k: v.to(device, dtype).requires_grad_() if torch.is_tensor(v) else v
        for k, v in values.items()
    }
    output = deform_conv2d(**values)
    tensors = [values[name] for name in NAMES if values[name] is not None]
    grad = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape)
    return [output, *torch.autograd.grad(output, tensors, grad.to(device, dtype))]


@pytest.mark.gpu
@pytest.mark.parametrize('options', CUDA_CASES.values(), ids=CUDA_CASES)
@pytest.mark.parametrize(
    ('dtype', 'tolerance'),
    [
        (torch.float64, 1e-11),
        (torch.float32, 1e-4),
        (torch.float16, 1e-2),
        (torch.bfloat16, 6e-2),
    ],
)
def test_cuda_equals_cpu(options, dtype, tolerance):
    values = cuda_case(**options)
    if dtype != torch.float64:
        # Offsets that half precision holds exactly, so that both devices read the same places.
        values['offset'] = (values['offset'].clamp(-6, 6) * 16).round() / 16 + 1 / 32
        values = {k: v.to(dtype).double() if torch.is_tensor(v) else v for k, v in values.items()}
    torch.backends.cuda.matmul.allow_tf32 = False
    actual = outputs_and_gradients(values, 'cuda', dtype)
    expected = outputs_and_gradients(values, 'cpu', torch.float64)
    for one, other in zip(actual, expected):
        assert one.dtype == dtype
        error = (one.cpu().double() - other).abs().max()
        assert error <= tolerance * other.abs().max()


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_cuda_autocast_takes_the_precision_of_the_region(dtype):
    values = cuda_case(**CUDA_CASES['modulated'])
    values = {
        k: v.to('cuda', torch.float32) if torch.is_tensor(v) else v for k, v in values.items()
    }
    values['weight'].requires_grad_()
    with torch.autocast('cuda', dtype=dtype):
        output = deform_conv2d(**values)
    assert output.dtype == dtype
    output.float().sum().backward()
    assert values['weight'].grad.dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_cuda_backward_inside_of_an_autocast_region(dtype):
    values = cuda_case(**CUDA_CASES['modulated'])
    values = {k: v.to('cuda', dtype) if torch.is_tensor(v) else v for k, v in values.items()}
    values = requiring_grad(values)
    output = deform_conv2d(**values)
    tensors = [values[name] for name in NAMES]
    expected = torch.autograd.grad(output.sum(), tensors, retain_graph=True)
    with torch.autocast('cuda', dtype=torch.float16):
        actual = torch.autograd.grad(output.sum(), tensors)
    for one, other in zip(actual, expected):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_cuda_takes_empty_batches_and_refuses_mixed_devices():
    values = {k: v.cuda() if torch.is_tensor(v) else v for k, v in arguments().items()}
    empty = values | {name: values[name][:0] for name in ('input', 'offset', 'mask')}
    assert deform_conv2d(**empty).shape == (0, 6, 5, 6)
    with pytest.raises(ValueError, match='offset is on cpu but input is on cuda:0'):
        deform_conv2d(**values | {'offset': values['offset'].cpu()})
