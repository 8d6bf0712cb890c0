import pytest
import torch
from mmcv.ops import SyncBatchNorm as MMSyncBatchNorm
from torch import distributed as dist
from torch import multiprocessing as mp
from torch import nn

from polarseg.models.layers import CPUSyncBatchNorm, convert_sync_batchnorm_to_cpu

SIZES = {'equal': (2, 2), 'different': (1, 3), 'empty': (0, 2)}
CASES = [
    *[(sizes, {}) for sizes in SIZES],
    ('different', {'momentum': None}),
    ('different', {'affine': False}),
    ('different', {'track_running_stats': False}),
]


def _batches(sizes, shape=(4, 5, 3), dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    parts = [torch.randn(n, *shape, generator=generator, dtype=dtype) for n in SIZES[sizes]]
    # A large mean shows statistics that cancel.
    return [part * 3 + 100 for part in parts]


def _run(layer, inputs):
    """Two training steps; outputs and gradients of the last, and the state afterwards."""
    for step in range(2):
        x = (inputs + step).requires_grad_()
        layer.zero_grad()
        out = layer(x)
        (out * torch.sin(torch.arange(out.numel()).view_as(out) % 7)).sum().backward()
    return out.detach(), x.grad, [p.grad for p in layer.parameters()], layer.state_dict()


def _weights(layer):
    if layer.affine:
        with torch.no_grad():
            layer.weight.copy_(torch.linspace(0.5, 2, 4))
            layer.bias.copy_(torch.linspace(-1, 1, 4))
    return layer.double()


def _init(rank, folder):
    dist.init_process_group('gloo', init_method=f'file://{folder}/join', rank=rank, world_size=2)
    torch.set_num_threads(1)


def _worker(rank, folder):
    _init(rank, folder)
    results = [
        _run(_weights(CPUSyncBatchNorm(4, **options)), _batches(sizes)[rank])
        for sizes, options in CASES
    ]
    layer = CPUSyncBatchNorm(4)
    half = layer(_batches('equal', dtype=torch.float32)[rank].bfloat16())
    layer.eval()
    evaluated = layer(torch.ones(1, 4))
    results.append((half.dtype, half.float(), evaluated.shape))
    error = None
    try:
        CPUSyncBatchNorm(4)(torch.zeros(1 - rank, 4))
    except ValueError as exception:
        error = str(exception)
    results.append(error)
    torch.save(results, f'{folder}/{rank}.pt')
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('sync_bn')
    mp.spawn(_worker, (str(folder),), nprocs=2)
    return [torch.load(folder / f'{rank}.pt', weights_only=True) for rank in range(2)]


@pytest.mark.parametrize('case', range(len(CASES)), ids=str)
def test_two_processes_equal_batch_norm_over_the_joined_batch(two_processes, case):
    sizes, options = CASES[case]
    parts = _batches(sizes)
    reference = _weights(nn.BatchNorm2d(4, **options))
    count = [part.numel() for part in parts]

    def weigh(out):
        # _run weighs outputs by their index within the process
        pieces = [torch.sin(torch.arange(n) % 7) for n in count]
        return torch.cat(pieces).view_as(out)

    for step in range(2):
        x = (torch.cat(parts) + step).requires_grad_()
        reference.zero_grad()
        out = reference(x)
        (out * weigh(out)).sum().backward()
    outs, grads, weight_grads, states = zip(*(result[case] for result in two_processes))
    torch.testing.assert_close(torch.cat(outs), out.detach())
    torch.testing.assert_close(torch.cat(grads), x.grad)
    for index, parameter in enumerate(reference.parameters()):
        torch.testing.assert_close(sum(grad[index] for grad in weight_grads), parameter.grad)
    for state in states:
        assert state.keys() == reference.state_dict().keys()
        for name, value in reference.state_dict().items():
            torch.testing.assert_close(state[name], value)


def test_low_precision_input_keeps_its_dtype_and_float32_statistics(two_processes):
    dtypes, outs, shapes = zip(*(result[-2] for result in two_processes))
    assert set(dtypes) == {torch.bfloat16}
    assert set(shapes) == {(1, 4)}
    inputs = torch.cat([part.bfloat16().float() for part in _batches('equal', dtype=torch.float32)])
    torch.testing.assert_close(torch.cat(outs), nn.BatchNorm2d(4)(inputs), atol=0.02, rtol=0.01)


def test_a_single_value_over_all_processes_is_refused(two_processes):
    assert all('more than one value per channel' in result[-1] for result in two_processes)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('options', [{}, {'track_running_stats': False}, {'momentum': None}])
def test_one_process_is_plain_batch_norm(options, training):
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    layer, reference = CPUSyncBatchNorm(4, **options), nn.BatchNorm1d(4, **options)
    layer.train(training)
    reference.train(training)
    for _ in range(2):
        torch.testing.assert_close(layer(x), reference(x))
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(layer.state_dict()[name], value)


@pytest.mark.parametrize('shape', [(4,), (2, 3, 5, 5)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ValueError, match=r'expected \[N, 4, \.\.\.\]'):
        CPUSyncBatchNorm(4)(torch.zeros(shape))


def test_conversion_keeps_parameters_and_shared_layers():
    shared = nn.SyncBatchNorm(4, eps=0.1, momentum=0.3)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), shared, nn.Sequential(shared, nn.BatchNorm2d(4)))
    model[1].eval()
    before = dict(model.state_dict(keep_vars=True))
    converted = convert_sync_batchnorm_to_cpu(model)
    assert converted is model
    assert type(model[1]) is CPUSyncBatchNorm
    assert model[2][0] is model[1]
    assert type(model[2][1]) is nn.BatchNorm2d
    assert (model[1].eps, model[1].momentum, model[1].training) == (0.1, 0.3, False)
    after = model.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert convert_sync_batchnorm_to_cpu(model[1]) is model[1]


def test_conversion_of_mmcv_layers(tmp_path):
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/join', rank=0, world_size=1)
    try:
        layer = MMSyncBatchNorm(4)
        twin = convert_sync_batchnorm_to_cpu(layer)
        assert type(twin) is CPUSyncBatchNorm
        assert twin.weight is layer.weight
        assert twin.running_var is layer.running_var
        assert twin(torch.randn(2, 4, 3)).shape == (2, 4, 3)
    finally:
        dist.destroy_process_group()
