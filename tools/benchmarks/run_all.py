"""Run every benchmark and gather the results.

    python tools/benchmarks/run_all.py --json results.json --markdown results.md

Each script runs in a process of its own, so that none finds the memory that another one left. Exits
with 1 if results differ by more than their cases allow, with 2 if a script breaks off.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness import mismatches, new_parser
from report import render, write_json

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
SCRIPTS = ('polar_rays', 'deform_conv2d', 'rle', 'largest_contours', 'blend')


def command(name: str, options: argparse.Namespace, output: Path) -> list[str]:
    """The command line of one script."""
    shared = ['--threads', options.threads, '--device', options.device]
    shared += ['--seconds', options.seconds, '--json', output]
    if options.quick:
        shared.append('--quick')
    own = []
    if name == 'polar_rays' and options.golden_dir is not None:
        own = ['--golden-dir', options.golden_dir]
    if name == 'deform_conv2d':
        own = ['--dtype', options.dtype]
    return [sys.executable, str(FOLDER / f'{name}.py'), *map(str, [*shared, *own])]


def run_script(name: str, options: argparse.Namespace) -> dict | None:
    """What one script found; None, after a sentence, where it broke off."""
    paths = [str(ROOT), os.environ.get('PYTHONPATH', '')]
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(path for path in paths if path)}
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / 'rows.json'
        line = command(name, options, output)
        # its table is printed again below, together with the others
        done = subprocess.run(line, env=environment, stdout=subprocess.DEVNULL, check=False)
        if output.is_file():
            return json.loads(output.read_text(encoding='utf-8'))
    print(f'{name}.py broke off with exit status {done.returncode}', file=sys.stderr)
    return None


def run(argv: Sequence[str] | None = None) -> int:
    """Run, gather, write; the exit status."""
    parser = new_parser(__doc__)
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='write the tables there')
    parser.add_argument('--golden-dir', type=Path, metavar='DIR', help='of polar_rays.py')
    parser.add_argument('--dtype', default='float32', help='of deform_conv2d.py (%(default)s)')
    parser.add_argument('--scripts', nargs='+', choices=SCRIPTS, default=list(SCRIPTS))
    options = parser.parse_args(argv)
    found = [run_script(name, options) for name in options.scripts]
    results = [one for one in found if one is not None]
    if not results:
        return 2
    whole = dict(
        machine=results[0]['machine'],
        absent_peers={name: why for one in results for name, why in one['absent_peers'].items()},
        rows=[row for one in results for row in one['rows']],
    )
    text = render(whole)
    print(text)
    if options.json is not None:
        write_json(options.json, whole)
    if options.markdown is not None:
        options.markdown.write_text(text, encoding='utf-8')
    wrong = mismatches(whole['rows'])
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    if len(results) < len(found):
        return 2
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(run())
