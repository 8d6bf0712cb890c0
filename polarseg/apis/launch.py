"""Distributed set-up: one process group from torchrun, Slurm or MPI, on GPUs or on CPUs.

mmengine's own set-up calls ``torch.cuda.set_device`` and passes ``device_ids`` to DDP, and so
needs CUDA. Here the process group exists before the ``Runner`` is built, which then leaves it
alone, and the model wrapper knows whether the model is on a CPU.
"""

import os
import re
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import barrier as mmengine_barrier
from mmengine.model import MMDistributedDataParallel
from torch import distributed as dist
from torch import nn

from polarseg.models.layers.sync_batch_norm import convert_sync_batchnorm_to_cpu
from polarseg.registry import MODEL_WRAPPERS

__all__ = [
    'CPUDistributedDataParallel',
    'LaunchError',
    'distributed',
    'first_host',
    'prepare_environment',
    'use_cpu_wrapper',
]

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
_DEFAULT_PORT = 29500


class LaunchError(RuntimeError):
    """The environment lacks what the launcher should have set; the message says what to do."""


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's ``MMDistributedDataParallel`` for a model on the CPU.

    Drops ``device_ids``, which torch refuses for CPU modules, and replaces synchronised batch norm
    layers by ones that run on CPUs.

    Args:
        module: the model, on the CPU.
        device_ids: ignored; mmengine always passes it.
        kwargs: those of ``MMDistributedDataParallel``.
    """

    def __init__(self, module: nn.Module, device_ids: Any = None, **kwargs: Any) -> None:
        del device_ids
        super().__init__(module=convert_sync_batchnorm_to_cpu(module), **kwargs)


def first_host(nodelist: str) -> str:
    """The first host of a Slurm node list, e.g. ``gpu003-ib`` of ``gpu[003-010,012]-ib,cpu1``.

    Args:
        nodelist: the value of ``SLURM_STEP_NODELIST`` or ``SLURM_NODELIST``.

    Raises:
        LaunchError: the list is empty.
    """
    first = re.match(r'(?:[^,\[]|\[[^\]]*\])+', nodelist.strip())
    if first is None:
        raise LaunchError(f'SLURM_NODELIST={nodelist!r} names no host; set MASTER_ADDR')
    return re.sub(r'\[([^\],-]+)[^\]]*\]', r'\1', first.group())


def _need(env: MutableMapping[str, str], names: tuple[str, ...], advice: str) -> None:
    missing = [name for name in names if name not in env]
    if missing:
        raise LaunchError(f'the environment has no {", ".join(missing)}: {advice}')


def _from_slurm(env: MutableMapping[str, str], port: int | None) -> None:
    advice = '--launcher slurm is for processes started by srun (see tools/slurm_train.sh)'
    _need(env, ('SLURM_PROCID', 'SLURM_NTASKS'), advice)
    rank, world_size = int(env['SLURM_PROCID']), int(env['SLURM_NTASKS'])
    if 'SLURM_LOCALID' in env:
        local_rank = int(env['SLURM_LOCALID'])
    else:
        local_rank = rank % max(torch.cuda.device_count(), 1)
    env['RANK'], env['WORLD_SIZE'] = str(rank), str(world_size)
    env['LOCAL_RANK'] = str(local_rank)
    if 'MASTER_ADDR' not in env:
        hosts = env.get('SLURM_STEP_NODELIST') or env.get('SLURM_NODELIST', '')
        nodes = env.get('SLURM_STEP_NUM_NODES') or env.get('SLURM_NNODES', '')
        single = nodes == '1' or world_size == 1
        # One machine needs no name resolution, which is often broken inside jobs.
        env['MASTER_ADDR'] = '127.0.0.1' if single else first_host(hosts)
    if port is not None:
        env['MASTER_PORT'] = str(port)
    elif 'MASTER_PORT' not in env:
        # Two jobs may share a machine: all tasks of a job derive the same port from its number.
        job = int(env.get('SLURM_JOB_ID', '0'))
        env['MASTER_PORT'] = str(20000 + job % 20000 if job else _DEFAULT_PORT)


def _from_mpi(env: MutableMapping[str, str]) -> None:
    names = ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK')
    advice = '--launcher mpi is for processes started by mpirun, with MASTER_ADDR set'
    _need(env, (*names, 'MASTER_ADDR'), advice)
    env['RANK'], env['WORLD_SIZE'], env['LOCAL_RANK'] = (env[name] for name in names)
    env.setdefault('MASTER_PORT', str(_DEFAULT_PORT))


def prepare_environment(
    launcher: str, port: int | None = None, env: MutableMapping[str, str] | None = None
) -> None:
    """Set RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT from the launcher's variables.

    Args:
        launcher: ``'pytorch'`` (torchrun sets them itself; they are only checked), ``'slurm'`` or
            ``'mpi'`` (Open MPI).
        port: port of the first process for Slurm; default ``MASTER_PORT``, else one derived from
            the job's number.
        env: environment to read and change, ``os.environ`` by default.

    Raises:
        LaunchError: variables are missing, i.e. the process was started in another way.
        ValueError: unknown launcher.
    """
    env = os.environ if env is None else env
    if launcher == 'pytorch':
        names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
        advice = '--launcher pytorch is for processes started by torchrun; use tools/dist_train.sh'
        _need(env, names, f'{advice} or tools/dist_test.sh with the number of processes')
    elif launcher == 'slurm':
        _from_slurm(env, port)
    elif launcher == 'mpi':
        _from_mpi(env)
    else:
        raise ValueError(f'unknown launcher {launcher!r}, expected one of {LAUNCHERS[1:]}')


def _share_cpu_threads(env: MutableMapping[str, str]) -> None:
    """Give each CPU process its share of the cores, unless OMP_NUM_THREADS is set.

    torchrun, and so tools/dist_*.sh, sets it; Slurm and MPI do not, and each process would start
    a thread for every core.
    """
    if 'OMP_NUM_THREADS' in env:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    if 'SLURM_CPUS_PER_TASK' in env:
        threads = min(int(env['SLURM_CPUS_PER_TASK']), cores or 1)
    else:
        # "4(x2),3": tasks of the first node, which are no fewer than those of later ones.
        slurm_tasks = re.match(r'\d+', env.get('SLURM_STEP_TASKS_PER_NODE', ''))
        local = slurm_tasks.group() if slurm_tasks else env.get('OMPI_COMM_WORLD_LOCAL_SIZE')
        threads = (cores or 1) // int(local or env['WORLD_SIZE'])
    threads = max(threads, 1)
    env['OMP_NUM_THREADS'] = str(threads)
    torch.set_num_threads(threads)


def _select_gpu(local_rank: int) -> None:
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise LaunchError(
            f'process {local_rank} of this machine has no GPU: {count} visible. Start at most '
            f'{count} processes, or set CUDA_VISIBLE_DEVICES="" to train on CPUs'
        )
    torch.cuda.set_device(local_rank)


def _init_process_group(cfg: Config) -> bool:
    """Create the process group if polarseg has to; True if it did."""
    launcher, device = cfg.get('launcher', 'none'), get_device()
    if launcher == 'none' or dist.is_initialized() or device not in ('cpu', 'cuda'):
        return False  # other accelerators: mmengine knows their back ends
    dist_cfg = dict(cfg.get('env_cfg', {}).get('dist_cfg', {}))
    prepare_environment(launcher, dist_cfg.get('port'))
    options = {}
    if dist_cfg.get('timeout') is not None:
        options['timeout'] = timedelta(seconds=dist_cfg['timeout'])
    if device == 'cuda':
        _select_gpu(int(os.environ['LOCAL_RANK']))
        backend = dist_cfg.get('backend', 'nccl')
    else:
        _share_cpu_threads(os.environ)
        backend = 'gloo'
    dist.init_process_group(backend=backend, **options)
    return True


def use_cpu_wrapper(cfg: Config) -> None:
    """Make the runner wrap the model for CPUs, in place, unless the config names a wrapper.

    Args:
        cfg: a config for mmengine's ``Runner``; its ``find_unused_parameters`` is kept.
    """
    wrapper = cfg.get('model_wrapper_cfg') or {}
    if wrapper.get('type', 'MMDistributedDataParallel') != 'MMDistributedDataParallel':
        return
    defaults = {
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
    }
    # mmengine asks its own registry, which does not know grandchildren's scopes but full paths.
    path = f'{CPUDistributedDataParallel.__module__}.{CPUDistributedDataParallel.__qualname__}'
    cfg.model_wrapper_cfg = {**defaults, **wrapper, 'type': path}


@contextmanager
def distributed(cfg: Config) -> Iterator[None]:
    """Process group for the time of a run; does nothing where ``cfg.launcher`` is ``'none'``.

    With GPUs each process takes the one of its local rank and talks over NCCL (or
    ``env_cfg.dist_cfg.backend``). Without, processes talk over gloo and ``cfg`` gets a model
    wrapper for CPUs.

    Args:
        cfg: the prepared config; changed in place on CPUs.

    Raises:
        LaunchError: the launcher's environment variables are missing, or too few GPUs.
    """
    created = _init_process_group(cfg)
    if cfg.get('launcher', 'none') != 'none' and get_device() == 'cpu':
        use_cpu_wrapper(cfg)
    yield
    # Not in a `finally`: after a failure of one process the others would wait here.
    if created:
        # Leave together: the first process keeps the store that the others still talk to.
        mmengine_barrier()
        dist.destroy_process_group()
