"""Random calls of every compiled operator: each must give the right answer or say what is wrong.

``python tools/fuzz_ops.py --calls 10000``. The arguments of a call are valid, odd (no objects,
values that are not finite, views) or broken in one place. An answer is compared with a slow one
where that is cheap, and else with what holds for every answer; a refusal must be the documented
exception for what was broken, with a sentence that begins with the operator's name. Everything else
is printed with the command that repeats it, and the exit status is 1.

Needs torch, numpy and polarseg.ops alone. See tools/sanitize_ops.sh for doing this with sanitizers.
"""

import argparse
import os
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from fuzzing import deform_conv2d, largest_contours, paste_masks, polar_rays, polygons
from fuzzing.draw import Call, WrongResult

OPERATORS: dict[str, ModuleType] = {
    'deform_conv2d': deform_conv2d,
    'largest_contours': largest_contours,
    'paste_masks_to_rle': paste_masks,
    'polar_ray_targets': polar_rays,
    'polygons_to_rle': polygons,
}
DOCUMENTED = (TypeError, ValueError, IndexError, RuntimeError)
ANSWER, FAILURE = 'answers', 'failures'


def draw(name: str, seed: int, index: int) -> Call:
    """The call of this number. It depends on nothing but the three arguments."""
    rng = np.random.default_rng([seed, index, zlib.crc32(name.encode())])
    return OPERATORS[name].draw(rng)


def make(name: str, call: Call) -> tuple[str, str]:
    """Make a call.

    Args:
        name: of the operator.
        call: its arguments and what is to come of them.

    Returns:
        The outcome (``answers``, the name of the exception that was due, or ``failures``) and, of a
        failure, what is wrong.
    """
    operator = OPERATORS[name]
    due = ' or '.join(error.__name__ for error in call.refusals)
    try:
        result = operator.run(call.arguments)
    except Exception as error:  # whatever it is, it is judged
        kind = type(error).__name__
        sentence = str(error)
        named = sentence.startswith(f'{name}: ') or sentence.startswith(f'polarseg::{name}')
        if type(error) in call.refusals and type(error) in DOCUMENTED and named:
            return kind, ''
        return FAILURE, f'{due or "an answer"} was due, but {kind} came: {sentence}'
    if call.refusals:
        return FAILURE, f'{due} was due, but an answer came'
    try:
        operator.check(call.arguments, result)
    except WrongResult as error:
        return FAILURE, f'wrong result: {error}'
    except Exception as error:  # nothing like a result, or a fault of the slow answer
        return FAILURE, f'the result cannot be checked: {type(error).__name__}: {error}'
    return ANSWER, ''


def describe(value: Any) -> str:
    """Of an argument: shape and layout of tensors, and their values where these are few."""
    if isinstance(value, torch.Tensor):
        head = f'tensor {list(value.shape)} strides {list(value.stride())} {value.dtype}'
        return f'{head} {value.tolist()}' if value.numel() <= 200 else head
    if isinstance(value, np.ndarray):
        head = f'array {list(value.shape)} {value.dtype}'
        return f'{head} {value.tolist()}' if value.size <= 200 else head
    if isinstance(value, list):
        return '[' + ', '.join(describe(part) for part in value) + ']'
    return repr(value)


def report(name: str, seed: int, index: int, call: Call, wrong: str) -> None:
    """Print what is wrong, the arguments, and how to make the call again."""
    print(f'{name}, call {index}: {wrong}')
    for key, value in call.arguments.items():
        print(f'    {key} = {describe(value)}')
    again = f'--operators {name} --seed {seed} --first {index} --calls 1'
    print(f'    again: python tools/fuzz_ops.py {again}', flush=True)


def table(counts: dict[str, Counter]) -> str:
    """Operators, calls, answers and refusals by exception."""
    kinds = [ANSWER, *(error.__name__ for error in DOCUMENTED), FAILURE]
    kinds = [k for k in kinds if k in (ANSWER, FAILURE) or any(c[k] for c in counts.values())]
    rows = [['operator', 'calls', *kinds]]
    total: Counter = Counter()
    for name, count in [*counts.items(), ('all', total)]:
        rows.append([name, str(sum(count.values())), *(str(count[kind]) for kind in kinds)])
        total.update(count)
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]
        lines.append('  '.join(cells))
    return '\n'.join(lines)


def fuzz(
    names: Sequence[str], calls: int, seed: int, first: int = 0, current: Path | None = None
) -> dict[str, Counter]:
    """Make calls of the operators in turn, and print what fails.

    Args:
        names: of the operators.
        calls: how many, of all operators together.
        seed: of all drawing.
        first: number of the first call.
        current: file that names the call being made, for when the process dies of it.

    Returns:
        For each operator how often each outcome came.
    """
    counts: dict[str, Counter] = {name: Counter() for name in names}
    file = None if current is None else os.open(current, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for index in range(first, first + calls):
        name = names[index % len(names)]
        if file is not None:
            line = f'--operators {name} --seed {seed} --first {index} --calls 1'
            os.pwrite(file, line.ljust(120).encode() + b'\n', 0)
        call = draw(name, seed, index)
        outcome, wrong = make(name, call)
        counts[name][outcome] += 1
        if wrong:
            report(name, seed, index, call, wrong)
    if file is not None:
        os.close(file)
    return counts


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command; ``names`` are the operators meant."""
    parser = argparse.ArgumentParser(
        description='Random calls of the compiled operators. Status 1 if one of them fails.'
    )
    parser.add_argument('--calls', type=int, default=10000, help='of all operators together')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--first', type=int, default=0, help='number of the first call')
    parser.add_argument('--operators', default='*', metavar='GLOB', help=', '.join(OPERATORS))
    parser.add_argument(
        '--current', type=Path, metavar='FILE', help='names the call being made, should it crash'
    )
    args = parser.parse_args(arguments)
    args.names = [name for name in OPERATORS if fnmatchcase(name, args.operators)]
    if not args.names:
        parser.error(f'--operators {args.operators}: there are {", ".join(OPERATORS)}')
    if args.calls < 1 or args.seed < 0 or args.first < 0:
        parser.error('--calls must be at least 1, --seed and --first at least 0')
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    args = parse_args(arguments)
    counts = fuzz(args.names, args.calls, args.seed, args.first, args.current)
    print(table(counts))
    return 1 if any(count[FAILURE] for count in counts.values()) else 0


if __name__ == '__main__':
    sys.exit(main())
