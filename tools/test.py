"""Test a detector; see docs/training.md."""

import argparse
import os
from collections.abc import Sequence

from polarseg.apis import (
    add_run_arguments,
    draw_predictions,
    leave_at_once,
    named_errors,
    prepare_config,
    run_test,
    set_evaluation,
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line (``sys.argv`` by default); exits with a message on bad usage."""
    parser = argparse.ArgumentParser(description='Test a detector', allow_abbrev=False)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint', help='file or URL; DIR/latest.pth is the newest checkpoint of DIR'
    )
    parser.add_argument('--out', metavar='FILE.pkl', help='write all predictions to this file')
    parser.add_argument(
        '--eval', nargs='+', metavar='METRIC', help='what to evaluate, e.g. bbox segm'
    )
    parser.add_argument(
        '--format-only',
        '--format_only',
        action='store_true',
        help='write result files (for a test server) without evaluating',
    )
    parser.add_argument(
        '--json-out',
        '--json_out',
        metavar='PREFIX',
        help='write PREFIX.bbox.json, PREFIX.segm.json',
    )
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument(
        '--show-dir', '--show_dir', help='folder for drawings, below <work dir>/<time stamp>'
    )
    parser.add_argument(
        '--wait-time', '--wait_time', type=float, default=2, help='seconds per window of --show'
    )
    add_run_arguments(parser)
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> argparse.Namespace:
    """Prepare the config as the options say, and test; returns the options."""
    args = parse_args()
    with named_errors():
        test(args)
    return args


def test(args: argparse.Namespace) -> None:
    """What the command line asks for."""
    cfg = prepare_config(args.config, args.work_dir, args.cfg_options, args.launcher)
    set_evaluation(cfg, args.eval, args.format_only, args.json_out)
    draw_predictions(cfg, args.show, args.show_dir, args.wait_time)
    run_test(cfg, args.checkpoint, args.out)


if __name__ == '__main__' and main().launcher != 'none':
    leave_at_once()
