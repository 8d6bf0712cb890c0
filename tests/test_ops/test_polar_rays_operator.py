"""polar_ray_targets as an operator: refusals, tracing, gradients, import, CUDA."""

import subprocess
import sys

import pytest
import torch

from polarseg.ops import polar_ray_targets
from polarseg.ops._library import find_library, load_library

MODES = pytest.mark.parametrize('mode', ['binned', 'exact'])


def arguments(**replaced):
    """Two triangles and three locations, in the order of the signature."""
    values = {
        'contours': torch.tensor(
            [[10.0, 10.0], [90.0, 15.0], [40.0, 80.0], [5.0, 5.0], [25.0, 5.0], [15.0, 30.0]]
        ),
        'offsets': torch.tensor([0, 3, 6]),
        'locations': torch.tensor([[45.0, 30.0], [15.0, 12.0], [60.0, 60.0]]),
        'instance_index': torch.tensor([0, 1, 0]),
        'num_rays': 36,
        'mode': 'binned',
    }
    assert set(replaced) <= set(values)
    return tuple((values | replaced).values())


# ---- refusals ------------------------------------------------------------------------------------

LONG = torch.int64

REFUSALS = [
    ({'mode': 'sampled'}, ValueError, "mode must be 'binned' or 'exact', got 'sampled'"),
    ({'num_rays': 0}, ValueError, 'num_rays must be between 1 and 1048576, got 0'),
    ({'num_rays': -4, 'mode': 'exact'}, ValueError, 'num_rays must be between 1 and'),
    ({'num_rays': 2**20 + 1, 'mode': 'exact'}, ValueError, 'num_rays must be between 1 and'),
    ({'num_rays': 37}, ValueError, "num_rays must divide 360 in mode 'binned', got 37"),
    ({'contours': torch.zeros(6, 2).double()}, TypeError, 'contours must be float32, got Double'),
    ({'contours': torch.zeros(6, 2).half()}, TypeError, 'contours must be float32, got Half'),
    ({'locations': torch.zeros(3, 2, dtype=LONG)}, TypeError, 'locations must be float32'),
    ({'contours': torch.zeros(12)}, ValueError, r'contours must have shape \(n, 2\).*got \[12\]'),
    ({'contours': torch.zeros(4, 3)}, ValueError, r'contours must have shape \(n, 2\)'),
    ({'locations': torch.zeros(2)}, ValueError, r'locations must have shape \(n, 2\)'),
    ({'offsets': torch.tensor([0.0, 3.0, 6.0])}, TypeError, 'offsets must be int64 or int32'),
    ({'offsets': torch.tensor([[0, 3, 6]])}, ValueError, 'offsets must have one dimension'),
    ({'offsets': torch.zeros(0, dtype=LONG)}, ValueError, 'offsets must have one entry more'),
    ({'offsets': torch.tensor([1, 3, 6])}, ValueError, 'offsets must begin with 0, got 1'),
    (
        {'offsets': torch.tensor([0, 5, 3, 6])},
        ValueError,
        r'must not decrease, but offsets\[1\] is 5 and offsets\[2\] is 3',
    ),
    ({'offsets': torch.tensor([0, 3, 7])}, ValueError, 'number of contour points, 6, got 7'),
    ({'offsets': torch.tensor([0, 3, 5])}, ValueError, 'number of contour points, 6, got 5'),
    (
        {'offsets': torch.tensor([0]), 'contours': torch.zeros(0, 2)},
        ValueError,
        'got 3 locations but offsets describes no instance',
    ),
    ({'instance_index': torch.zeros(3)}, TypeError, 'instance_index must be int64 or int32'),
    (
        {'instance_index': torch.tensor([0, 1])},
        ValueError,
        'one entry for each location, got 2 for 3 locations',
    ),
    (
        {'instance_index': torch.tensor([0, 1, 2])},
        IndexError,
        r'instance_index\[2\] is 2, but there are 2 instances',
    ),
    ({'instance_index': torch.tensor([-1, 1, 0])}, IndexError, r'instance_index\[0\] is -1'),
]


@pytest.mark.parametrize(('replaced', 'error', 'sentence'), REFUSALS)
def test_refuses_with_a_sentence(replaced, error, sentence):
    with pytest.raises(error, match='polar_ray_targets: .*' + sentence):
        polar_ray_targets(*arguments(**replaced))


def test_accepts_what_the_refusals_start_from():
    assert polar_ray_targets(*arguments()).shape == (3, 36)


# What values, or sizes known only at run time, decide is out of reach of fake tensors.
NEEDS_VALUES = (
    'must begin',
    'must not decrease',
    'number of contour',
    'describes no instance',
    r'instance_index\[',
)
TRACE_REFUSALS = [case for case in REFUSALS if not any(words in case[2] for words in NEEDS_VALUES)]


@pytest.mark.parametrize(('replaced', 'error', 'sentence'), TRACE_REFUSALS)
def test_tracing_refuses_the_same(replaced, error, sentence):
    mode = torch._subclasses.FakeTensorMode()
    fakes = [mode.from_tensor(a) if torch.is_tensor(a) else a for a in arguments(**replaced)]
    with mode, pytest.raises(error, match='polar_ray_targets'):
        polar_ray_targets(*fakes)


# ---- autograd, tracing, compiling ----------------------------------------------------------------


@MODES
def test_opcheck(mode):
    operator = torch.ops.polarseg.polar_ray_targets.default
    torch.library.opcheck(operator, arguments(mode=mode))
    *_, num_rays, _ = arguments()
    with_grad = [a.requires_grad_() if a.is_floating_point() else a for a in arguments()[:4]]
    torch.library.opcheck(operator, (*with_grad, num_rays, mode))


@MODES
def test_result_is_a_constant_for_autograd(mode):
    contours, offsets, locations, index, *_ = arguments()
    locations.requires_grad_()
    rays = polar_ray_targets(contours.requires_grad_(), offsets, locations, index, 36, mode)
    assert not rays.requires_grad
    (rays.sum() * locations.sum()).backward()
    torch.testing.assert_close(locations.grad, torch.full((3, 2), rays.sum().item()))
    assert contours.grad is None


class Targets(torch.nn.Module):
    """What a head does with the operator: rays of shifted locations, then a centerness."""

    def __init__(self, mode):
        super().__init__()
        self.mode = mode

    def forward(self, contours, offsets, locations, index):
        rays = polar_ray_targets(contours, offsets, locations + 0.5, index, 24, self.mode)
        return rays, (rays.amin(1) / rays.amax(1)).sqrt()


@MODES
@pytest.mark.parametrize('dynamic', [False, True])
def test_compiles_in_one_graph(mode, dynamic):
    torch.compiler.reset()
    module = Targets(mode)
    compiled = torch.compile(module, backend='aot_eager', fullgraph=True, dynamic=dynamic)
    tensors = arguments()[:4]
    for actual, expected in zip(compiled(*tensors), module(*tensors)):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@MODES
def test_exports_with_any_number_of_locations(mode):
    module = Targets(mode)
    contours, offsets, locations, index = arguments()[:4]
    count = torch.export.Dim('count', min=1)
    program = torch.export.export(
        module,
        (contours, offsets, locations, index),
        dynamic_shapes=(None, None, {0: count}, {0: count}),
    )
    locations, index = locations.repeat(5, 1), index.repeat(5)
    actual = program.module()(contours, offsets, locations, index)
    for one, other in zip(actual, module(contours, offsets, locations, index)):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_meta_tensors_give_shape_and_dtype():
    metas = [a.to('meta') if torch.is_tensor(a) else a for a in arguments(num_rays=72)]
    rays = polar_ray_targets(*metas)
    assert (rays.shape, rays.dtype, rays.device.type) == ((3, 72), torch.float32, 'meta')


# ---- the package ---------------------------------------------------------------------------------


def test_importing_needs_torch_alone():
    code = (
        'import sys, torch; before = set(sys.modules); import polarseg.ops; '
        "names = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(' '.join(sorted(names - set(sys.stdlib_module_names) - {'torch'})))"
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ['polarseg']


def test_missing_library_says_how_to_build(tmp_path):
    with pytest.raises(ImportError, match='pip install --no-build-isolation -e'):
        find_library(tmp_path)


def test_unusable_library_says_how_to_build(tmp_path):
    (tmp_path / '_C.abi3.so').write_bytes(b'not a library')
    with pytest.raises(ImportError, match=r'built for another one.*--no-build-isolation'):
        load_library(tmp_path)


# ---- CUDA ----------------------------------------------------------------------------------------


def scattered(seed, num_instances=12, num_locations=500):
    """Dense and sparse contours, locations at pixel centres, on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    contours = []
    for g in range(num_instances):
        size = [0, 1, 2, 5, 40, 3000][g % 6]
        angles = torch.rand(size, generator=generator).sort().values * 2 * torch.pi
        radii = 60 + 25 * torch.rand(size, generator=generator)
        points = torch.stack([128 + radii * angles.sin(), 128 + radii * angles.cos()], 1)
        contours.append(points.round() if g % 2 else points)
    sizes = torch.tensor([len(c) for c in contours])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
    locations = torch.randint(40, 216, (num_locations, 2), generator=generator).float()
    index = torch.randint(0, num_instances, (num_locations,), generator=generator)
    return torch.cat(contours), offsets, locations, index


@pytest.mark.gpu
@pytest.mark.parametrize('num_rays', [36, 72, 360])
def test_cuda_binned_equals_cpu(num_rays):
    tensors = scattered(seed=num_rays)
    actual = polar_ray_targets(*[t.cuda() for t in tensors], num_rays, 'binned')
    assert torch.equal(actual.cpu(), polar_ray_targets(*tensors, num_rays, 'binned'))


@pytest.mark.gpu
@pytest.mark.parametrize('num_rays', [1, 5, 36, 360, 5000])
def test_cuda_exact_equals_cpu(num_rays):
    tensors = scattered(seed=num_rays)
    actual = polar_ray_targets(*[t.cuda() for t in tensors], num_rays, 'exact').cpu()
    expected = polar_ray_targets(*tensors, num_rays, 'exact')
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
@MODES
def test_cuda_runs_on_the_current_stream_and_repeats(mode):
    tensors = [t.cuda() for t in scattered(seed=1)]
    expected = polar_ray_targets(*tensors, 36, mode)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        results = [polar_ray_targets(*tensors, 36, mode) for _ in range(3)]
    stream.synchronize()
    for rays in results:
        assert torch.equal(rays, expected)
    empty = polar_ray_targets(tensors[0], tensors[1], tensors[2][:0], tensors[3][:0], 36, mode)
    assert empty.shape == (0, 36)


@pytest.mark.gpu
def test_cuda_refuses_mixed_devices():
    contours, offsets, locations, index = scattered(seed=2)
    with pytest.raises(ValueError, match='offsets is on cpu but contours is on cuda:0'):
        polar_ray_targets(contours.cuda(), offsets, locations.cuda(), index.cuda())


@pytest.mark.gpu
@pytest.mark.parametrize(
    ('offsets', 'index', 'sentence'),
    [
        ([0, 1], 1, 'instance_index[0] is 1, but there are 1 instances.'),
        ([0, 9], 0, 'the instance of location 0 has offsets 0 to 9'),
    ],
)
def test_cuda_stops_at_values_out_of_range(offsets, index, sentence):
    # In a process of its own: a stopped kernel leaves a process without CUDA.
    code = (
        'import torch; from polarseg.ops import polar_ray_targets; '
        "point = torch.ones(1, 2, device='cuda'); "
        f"offsets = torch.tensor({offsets}, device='cuda'); "
        f"index = torch.tensor([{index}], device='cuda'); "
        'polar_ray_targets(point, offsets, point, index); torch.cuda.synchronize()'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode != 0
    assert sentence in result.stdout + result.stderr
