"""BlendMask in two processes: the losses and gradients of the joint batch."""

import pytest
import torch
from ellipses import SHAPES, instances_of
from small_blendmask import batch_with_maps, build
from torch import distributed as dist
from torch import multiprocessing as mp

from polarseg.models.layers import convert_sync_batchnorm_to_cpu

# pictures of the processes: of unequal numbers of positives, and one process without instances
CASES = {'unequal': (SHAPES[0], SHAPES[1]), 'one empty': (SHAPES[0], [])}


def step(shapes):
    """Losses and gradients of a batch of the pictures."""
    from mmengine.registry import init_default_scope

    init_default_scope('polarseg')
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = convert_sync_batchnorm_to_cpu(build(norm='SyncBN').train())
    for layer in model.basis_module.seg_head.modules():
        # plain batch norms, which see their own process only
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eval()
    ground_truth = [instances_of(own) for own in shapes]
    # each picture of pixels of its own, wherever it is processed
    batch = batch_with_maps(ground_truth)
    for picture, own in zip(batch['inputs'], shapes):
        picture.copy_(torch.full_like(picture, 40 * len(own)) + torch.arange(128).byte() % 50)
    batch = model.data_preprocessor(batch, training=True)
    losses = model.loss(batch['inputs'], batch['data_samples'])
    sum(losses.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return {name: value.detach() for name, value in losses.items()}, gradients


def worker(rank, folder):
    dist.init_process_group('gloo', init_method=f'file://{folder}/join', rank=rank, world_size=2)
    results = {name: step([pictures[rank]]) for name, pictures in CASES.items()}
    torch.save(results, f'{folder}/{rank}.pt')
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('blendmask')
    mp.spawn(worker, (str(folder),), nprocs=2)
    return [torch.load(folder / f'{rank}.pt', weights_only=True) for rank in range(2)]


@pytest.mark.parametrize('name', CASES)
def test_two_processes_equal_one(two_processes, name):
    expected, expected_gradients = step(CASES[name])
    (first, first_gradients), (second, second_gradients) = (own[name] for own in two_processes)
    for loss, value in expected.items():
        # the mean over the processes, as the gradients are averaged
        torch.testing.assert_close((first[loss] + second[loss]) / 2, value, rtol=1e-4, atol=1e-6)
    for parameter, gradient in expected_gradients.items():
        mean = (first_gradients[parameter] + second_gradients[parameter]) / 2
        scale = gradient.abs().max().item()
        torch.testing.assert_close(mean, gradient, rtol=0, atol=1e-3 * scale + 1e-6)
