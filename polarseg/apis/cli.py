"""What command lines have in common."""

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import DictAction

from polarseg.apis.checkpoint import CheckpointError
from polarseg.apis.launch import LaunchError

__all__ = ['add_run_arguments', 'leave_at_once', 'named_errors']


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every command that runs a config: work dir, overrides, launcher.

    The old names of mmdetection 1.x and 2.x are accepted beside today's.

    Args:
        parser: gets ``work_dir``, ``cfg_options`` (dict or None), ``launcher`` and ``local_rank``.
    """
    parser.add_argument(
        '--work-dir',
        '--work_dir',
        help='folder for logs, metrics and checkpoints [work_dirs/<config>]',
    )
    options = parser.add_mutually_exclusive_group()
    for flag, note in (('--cfg-options', ''), ('--options', 'old name of --cfg-options; ')):
        options.add_argument(
            flag,
            dest='cfg_options',
            nargs='+',
            action=DictAction,
            metavar='KEY=VALUE',
            help=note + 'change values of the config, e.g. train_dataloader.batch_size=2 '
            'or key="[a,b]"',
        )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0)


@contextmanager
def named_errors() -> Iterator[None]:
    """End with one sentence and exit code 1 on errors that are the user's to mend.

    A missing file, an unreadable checkpoint and an incomplete launch say what is wrong by
    themselves; a traceback would only bury it. Other errors keep theirs.
    """
    try:
        yield
    except (FileNotFoundError, CheckpointError, LaunchError) as error:
        sys.exit(f'error: {error}')


def leave_at_once() -> None:
    """End this process with exit code 0, output flushed, without the interpreter's teardown.

    For one of several processes that has done its work. On CPUs the teardown sometimes aborts in
    a thread of torch's process group ("terminate called without an active exception"), and the
    launcher, seeing the exit code, would call a finished run failed and stop the others.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
