"""Train a detector; see docs/training.md."""

import argparse
import os
from collections.abc import Sequence

from polarseg.apis import (
    add_run_arguments,
    enable_amp,
    enable_lr_scaling,
    leave_at_once,
    named_errors,
    prepare_config,
    run_training,
    set_randomness,
    set_resume,
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line (``sys.argv`` by default); exits with a message on bad usage."""
    parser = argparse.ArgumentParser(description='Train a detector', allow_abbrev=False)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision (float16 on GPUs, bfloat16 on CPUs)'
    )
    parser.add_argument(
        '--auto-scale-lr',
        '--autoscale-lr',
        action='store_true',
        help='scale the learning rate by batch size / auto_scale_lr.base_batch_size',
    )
    resume = parser.add_mutually_exclusive_group()
    resume.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from CHECKPOINT; alone or "auto": from the newest in the work dir, if any',
    )
    resume.add_argument(
        '--resume-from',
        '--resume_from',
        dest='resume',
        metavar='CHECKPOINT',
        help='old name of --resume CHECKPOINT',
    )
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument('--deterministic', action='store_true', help='deterministic kernels')
    parser.add_argument(
        '--validate',
        action='store_true',
        help='accepted for old command lines: a config with val_cfg is always validated',
    )
    parser.add_argument(
        '--gpus',
        type=int,
        help='accepted for old command lines; more than 1 needs tools/dist_train.sh',
    )
    add_run_arguments(parser)
    args = parser.parse_args(argv)
    if args.launcher == 'none' and (args.gpus or 1) > 1:
        parser.error(
            f'--gpus {args.gpus}: one process uses one GPU; '
            f'run "sh tools/dist_train.sh {args.config} {args.gpus}"'
        )
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> argparse.Namespace:
    """Prepare the config as the options say, and train; returns the options."""
    args = parse_args()
    with named_errors():
        train(args)
    return args


def train(args: argparse.Namespace) -> None:
    """What the command line asks for."""
    cfg = prepare_config(args.config, args.work_dir, args.cfg_options, args.launcher)
    if args.amp:
        enable_amp(cfg)
    if args.auto_scale_lr:
        enable_lr_scaling(cfg)
    set_randomness(cfg, args.seed, args.deterministic)
    set_resume(cfg, args.resume)
    run_training(cfg)


if __name__ == '__main__' and main().launcher != 'none':
    leave_at_once()
