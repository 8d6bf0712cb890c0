"""The CUDA kernels of deform_conv2d, run thread by thread on the CPU, against the CPU operator.

The products between the kernels, cuBLAS's on a GPU, are torch's here.
"""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch.utils import cpp_extension

from polarseg.ops import deform_conv2d

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / 'csrc' / 'deform_conv2d'
TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]  # as DeformConvType

pytestmark = pytest.mark.skipif(shutil.which('c++') is None, reason='no c++ on PATH')


def for_host(source):
    """The CUDA source with launches turned into calls."""
    launch = re.compile(r'(\w+(?:<[^<>;]*>)?)<<<(.*?)>>>\((.*?)\);', re.DOTALL)
    text, count = launch.subn(r'emulated::launch(\2, [&] { \1(\3); });', source)
    assert count == 2
    return text


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp('on_host')
    kernels = folder / 'kernels.cpp'
    kernels.write_text(for_host((SOURCES / 'deform_conv2d_cuda.cu').read_text()))
    target = folder / 'kernels.so'
    includes = [HERE / 'cuda_on_host', SOURCES, *cpp_extension.include_paths()]
    command = ['c++', '-std=c++20', '-O1', '-shared', '-fPIC', '-o', str(target)]
    command += [f'-I{path}' for path in includes]
    command += [str(kernels), str(HERE / 'cuda_on_host' / 'deform_conv2d.cpp')]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return ctypes.CDLL(str(target))


class OnHost:
    """What deform_conv2d_cuda_binding.cpp does around the launchers, for one sample."""

    def __init__(self, library, case, chunk):
        self.library = library
        self.chunk = chunk
        self.__dict__.update(case)
        _, self.channels, height, width = self.input.shape
        self.outs, self.group_channels, kernel_h, kernel_w = self.weight.shape
        _, _, out_h, out_w = self.offset.shape
        self.positions = out_h * out_w
        stride, padding, dilation = self.stride, self.padding, self.dilation
        self.shape = (ctypes.c_int64 * 17)(
            *(1, self.channels, height, width, self.outs, out_h, out_w, kernel_h, kernel_w),
            *(stride, stride, padding, padding, dilation, dilation),
            *(self.groups, self.deform_groups),
        )
        self.inner = kernel_h * kernel_w * self.group_channels
        self.image = self.input.permute(0, 2, 3, 1).contiguous()
        self.matrix = self.weight.permute(0, 2, 3, 1).reshape(self.groups, -1, self.inner)

    def call(self, name, first, *tensors):
        count = min(self.chunk, self.positions - first)
        tensors = (self.image, self.offset, self.mask, *tensors)
        pointers = [ctypes.c_void_p(None if t is None else t.data_ptr()) for t in tensors]
        numbers = (ctypes.c_int64(first), ctypes.c_int64(count))
        kind = TYPES.index(self.input.dtype)
        assert getattr(self.library, name)(self.shape, kind, *numbers, *pointers) == 0

    def columns(self, first):
        count = min(self.chunk, self.positions - first)
        columns = torch.full((self.groups, count, self.inner), 7.0, dtype=self.input.dtype)
        self.call('deform_columns', first, columns)
        return columns

    def forward(self):
        parts = [
            self.matrix @ self.columns(first).transpose(1, 2)
            for first in range(0, self.positions, self.chunk)
        ]
        return torch.cat(parts, 2).view(1, self.outs, *self.offset.shape[2:])

    def backward(self, grad):
        planes = grad.view(self.groups, -1, self.positions)
        wide = torch.float64 if self.input.dtype == torch.float64 else torch.float32
        image_grad = torch.zeros(self.image.shape, dtype=wide)
        offset_grad = torch.full_like(self.offset, 7)
        mask_grad = None if self.mask is None else torch.full_like(self.mask, 7)
        weight_grad = torch.zeros(self.matrix.shape, dtype=wide)
        for first in range(0, self.positions, self.chunk):
            part = planes[:, :, first : first + self.chunk]
            weight_grad += (part @ self.columns(first)).to(wide)
            column_grad = (part.transpose(1, 2) @ self.matrix).contiguous()
            results = (column_grad, image_grad, offset_grad, mask_grad)
            self.call('deform_data_grad', first, *results)
        kernel = (self.outs, *self.weight.shape[2:], self.group_channels)
        return {
            'input': image_grad.permute(0, 3, 1, 2),
            'offset': offset_grad,
            'weight': weight_grad.view(kernel).permute(0, 3, 1, 2),
            'mask': mask_grad,
        }


def make_case(
    channels=8,
    outs=6,
    groups=1,
    deform_groups=1,
    modulated=True,
    stride=1,
    padding=1,
    dilation=1,
    dtype=torch.float32,
):
    generator = torch.Generator().manual_seed(0)
    size = [(n + 2 * padding - 2 * dilation - 1) // stride + 1 for n in (6, 7)]

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return {
        'input': normal(1, channels, 6, 7),
        'offset': 3 * normal(1, 18 * deform_groups, *size),
        'weight': normal(outs, channels // groups, 3, 3),
        'mask': normal(1, 9 * deform_groups, *size).sigmoid() if modulated else None,
        'stride': stride,
        'padding': padding,
        'dilation': dilation,
        'groups': groups,
        'deform_groups': deform_groups,
    }


def on_cpu(case, grad):
    """Output and gradients of the CPU operator in float64."""
    case = {k: v.double().requires_grad_() if torch.is_tensor(v) else v for k, v in case.items()}
    output = deform_conv2d(**case)
    names = [name for name in ('input', 'offset', 'weight', 'mask') if case[name] is not None]
    grads = torch.autograd.grad(output, [case[name] for name in names], grad.double())
    return output.detach(), dict(zip(names, grads))


CASES = {
    'vectors': dict(),
    'v1': dict(modulated=False),
    'odd channels': dict(channels=5),
    'many channels': dict(channels=144, outs=2),
    'groups': dict(channels=24, groups=2, deform_groups=3),
    'groups without vectors': dict(channels=12, groups=2, deform_groups=6),
    'stride': dict(stride=2, dilation=2, padding=2),
}


@pytest.mark.parametrize('options', CASES.values(), ids=CASES)
@pytest.mark.parametrize(
    ('dtype', 'tolerance'),
    [
        (torch.float64, 1e-12),
        (torch.float32, 1e-5),
        (torch.float16, 1e-2),
        (torch.bfloat16, 5e-2),
    ],
)
def test_equals_the_cpu_operator(library, options, dtype, tolerance):
    case = make_case(**options, dtype=dtype)
    host = OnHost(library, case, chunk=17)
    output = host.forward()
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    expected, grads = on_cpu(case, grad)
    assert (output - expected).abs().max() <= tolerance * expected.abs().max()
    for name, actual in host.backward(grad).items():
        if actual is None:
            continue
        error = (actual - grads[name]).abs().max()
        assert error <= tolerance * grads[name].abs().max(), f'{name}: {error}'


def test_offsets_that_are_not_finite_read_nothing(library):
    case = make_case()
    case['offset'][:, ::3] = torch.tensor([float('nan'), float('inf'), -1e30]).repeat(2)[
        :, None, None
    ]
    host = OnHost(library, case, chunk=1000)
    output = host.forward()
    grad = torch.ones_like(output)
    expected, grads = on_cpu(case, grad)
    torch.testing.assert_close(output.double(), expected, rtol=1e-5, atol=1e-5)
    for name, actual in host.backward(grad).items():
        torch.testing.assert_close(actual.double(), grads[name], rtol=1e-4, atol=1e-4)


def test_gradients_not_asked_for_are_not_written(library):
    case = make_case()
    host = OnHost(library, case, chunk=1000)
    column_grad = torch.ones(1, host.positions, host.inner)
    complete = torch.zeros_like(host.image)
    host.call('deform_data_grad', 0, column_grad, complete, host.offset.clone(), host.mask.clone())
    alone = torch.zeros_like(host.image)
    host.call('deform_data_grad', 0, column_grad, alone, None, None)
    assert torch.equal(alone, complete)
    offset_grad = torch.zeros_like(host.offset)
    host.call('deform_data_grad', 0, column_grad, None, offset_grad, None)
    assert offset_grad.any()
