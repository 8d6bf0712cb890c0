import os
import socket

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODEL_WRAPPERS
from torch import distributed as dist
from torch import multiprocessing as mp
from torch import nn

from polarseg.apis import launch
from polarseg.apis.launch import (
    CPUDistributedDataParallel,
    LaunchError,
    distributed,
    first_host,
    prepare_environment,
    use_cpu_wrapper,
)
from polarseg.models.layers import CPUSyncBatchNorm

SLURM = {
    'SLURM_PROCID': '5',
    'SLURM_NTASKS': '8',
    'SLURM_LOCALID': '1',
    'SLURM_NODELIST': 'gpu[003-004]',
    'SLURM_NNODES': '2',
}


@pytest.mark.parametrize(
    ('nodes', 'host'),
    [
        ('node7', 'node7'),
        ('node7,node9', 'node7'),
        ('gpu[003-010,012]', 'gpu003'),
        ('gpu[12,15]-ib,cpu1', 'gpu12-ib'),
        ('rack[2-3]node[08-09]', 'rack2node08'),
        ('a-1,b[1-2]', 'a-1'),
    ],
)
def test_first_host(nodes, host):
    assert first_host(nodes) == host


def test_slurm_environment():
    env = dict(SLURM)
    prepare_environment('slurm', env=env)
    expected = {
        'RANK': '5',
        'WORLD_SIZE': '8',
        'LOCAL_RANK': '1',
        'MASTER_ADDR': 'gpu003',
        'MASTER_PORT': '29500',
    }
    assert expected.items() <= env.items()


@pytest.mark.parametrize(
    ('extra', 'address', 'port'),
    [
        ({'SLURM_NNODES': '1', 'SLURM_NODELIST': 'here'}, '127.0.0.1', '29500'),
        ({'SLURM_STEP_NUM_NODES': '1'}, '127.0.0.1', '29500'),
        ({'SLURM_STEP_NODELIST': 'gpu9'}, 'gpu9', '29500'),
        ({'MASTER_ADDR': '10.0.0.1', 'MASTER_PORT': '1234'}, '10.0.0.1', '1234'),
        ({'SLURM_JOB_ID': '1000007'}, 'gpu003', '20007'),
    ],
)
def test_slurm_address_and_port(extra, address, port):
    env = {**SLURM, **extra}
    prepare_environment('slurm', env=env)
    assert (env['MASTER_ADDR'], env['MASTER_PORT']) == (address, port)


def test_slurm_port_of_the_config_wins():
    env = {**SLURM, 'MASTER_PORT': '1234'}
    prepare_environment('slurm', port=4321, env=env)
    assert env['MASTER_PORT'] == '4321'


def test_mpi_environment():
    env = {
        'OMPI_COMM_WORLD_RANK': '3',
        'OMPI_COMM_WORLD_SIZE': '4',
        'OMPI_COMM_WORLD_LOCAL_RANK': '1',
        'MASTER_ADDR': 'host',
    }
    prepare_environment('mpi', env=env)
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT')
    assert [env[name] for name in names] == ['3', '4', '1', '29500']


@pytest.mark.parametrize(
    ('launcher', 'env', 'message'),
    [
        ('pytorch', {'RANK': '0'}, r'no WORLD_SIZE, LOCAL_RANK, .*dist_train\.sh'),
        ('slurm', {}, r'no SLURM_PROCID, SLURM_NTASKS: .*srun'),
        ('slurm', {**SLURM, 'SLURM_NODELIST': ''}, 'names no host'),
        ('mpi', {}, 'no OMPI_COMM_WORLD_RANK'),
    ],
)
def test_what_the_launcher_left_out_is_named(launcher, env, message):
    with pytest.raises(LaunchError, match=message):
        prepare_environment(launcher, env=dict(env))


def test_unknown_launcher():
    with pytest.raises(ValueError, match="'ray'"):
        prepare_environment('ray', env={})


@pytest.mark.parametrize(
    ('env', 'threads'),
    [
        ({'WORLD_SIZE': '2'}, '4'),
        ({'WORLD_SIZE': '16'}, '1'),
        ({'WORLD_SIZE': '8', 'SLURM_CPUS_PER_TASK': '3'}, '3'),
        ({'WORLD_SIZE': '8', 'SLURM_STEP_TASKS_PER_NODE': '4(x2)'}, '2'),
        ({'WORLD_SIZE': '8', 'OMPI_COMM_WORLD_LOCAL_SIZE': '2'}, '4'),
        ({'WORLD_SIZE': '2', 'OMP_NUM_THREADS': '7'}, '7'),
    ],
)
def test_cores_are_shared_between_cpu_processes(monkeypatch, env, threads):
    chosen = []
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(torch, 'set_num_threads', chosen.append)
    launch._share_cpu_threads(env)
    assert env['OMP_NUM_THREADS'] == threads
    assert chosen == ([] if threads == '7' else [int(threads)])


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(LaunchError, match='process 1 of this machine has no GPU: 1 visible'):
        launch._select_gpu(1)


def test_gpus_take_nccl_and_their_own_device(monkeypatch):
    calls = {}
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 8)
    monkeypatch.setattr(torch.cuda, 'set_device', lambda index: calls.update(device=index))
    monkeypatch.setattr(dist, 'init_process_group', lambda **options: calls.update(options))
    monkeypatch.setattr(dist, 'destroy_process_group', lambda: calls.update(left=True))
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, 'old')
    cfg = Config(dict(launcher='slurm', env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=60))))
    with distributed(cfg):
        assert 'left' not in calls
    assert calls.pop('timeout').total_seconds() == 60
    assert calls == dict(device=1, backend='nccl', left=True)
    assert 'model_wrapper_cfg' not in cfg


def test_no_launcher_no_process_group():
    cfg = Config(dict(launcher='none'))
    with distributed(cfg):
        assert not dist.is_initialized()
    assert 'model_wrapper_cfg' not in cfg


def test_wrapper_for_cpus_is_found_by_mmengine_and_keeps_options():
    cfg = Config(dict(find_unused_parameters=True))
    use_cpu_wrapper(cfg)
    assert MODEL_WRAPPERS.get(cfg.model_wrapper_cfg.type) is CPUDistributedDataParallel
    assert cfg.model_wrapper_cfg.find_unused_parameters is True
    cfg = Config(dict(model_wrapper_cfg=dict(detect_anomalous_params=True)))
    use_cpu_wrapper(cfg)
    assert cfg.model_wrapper_cfg.detect_anomalous_params is True
    cfg = Config(dict(model_wrapper_cfg=dict(type='MyWrapper')))
    use_cpu_wrapper(cfg)
    assert cfg.model_wrapper_cfg == dict(type='MyWrapper')


def _network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.SyncBatchNorm(4), nn.ReLU(), nn.Conv2d(4, 2, 3)]
    return nn.Sequential(*layers).double()


def _inputs():
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2)).double()


def _train_rank(rank, folder, port):
    os.environ.update(
        SLURM_PROCID=str(rank),
        SLURM_NTASKS='2',
        SLURM_LOCALID=str(rank),
        SLURM_NODELIST='nowhere[1-2]',
        SLURM_NNODES='1',
        MASTER_PORT=str(port),
        OMP_NUM_THREADS='1',
    )
    launch.get_device = lambda: 'cpu'
    cfg = Config(dict(launcher='slurm', env_cfg=dict(dist_cfg=dict(backend='nccl'))))
    with distributed(cfg):
        assert dist.get_backend() == 'gloo'
        model = CPUDistributedDataParallel(_network(), device_ids=[rank])
        assert type(model.module[1]) is CPUSyncBatchNorm
        half = _inputs()[2 * rank : 2 * rank + 2]
        model(half).square().mean().backward()
        grads = [p.grad for p in model.parameters()]
        torch.save([grads, model.module.state_dict()], f'{folder}/{rank}.pt')
    assert not dist.is_initialized()


def test_two_slurm_tasks_on_cpus_train_like_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    mp.spawn(_train_rank, (str(tmp_path), port), nprocs=2)
    results = [torch.load(tmp_path / f'{rank}.pt', weights_only=True) for rank in range(2)]
    single = _network()
    single[1] = nn.BatchNorm2d(4).double()
    single(_inputs()).square().mean().backward()
    for grads, state in results:
        for grad, parameter in zip(grads, single.parameters()):
            torch.testing.assert_close(grad, parameter.grad)
        torch.testing.assert_close(state['1.running_var'], single[1].running_var)
