"""Measures an operator beside its peers: in one process, in turn, results compared.

A script of this folder lists :class:`Case` objects and calls :func:`main`. Of each case and each
peer, the operator and the peer run alternately (ours, peer, ours, peer, ...), so that a change of
clock speed or a neighbour on the machine touches both alike. Before they are timed, both run once
and their results are compared; the exit status is 1 if they differ by more than the case allows.
"""

import argparse
import contextlib
import fnmatch
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch
from comparisons import Comparison, identical
from machine import available_cores, describe
from report import render, write_json

__all__ = ['Case', 'Peer', 'Subject', 'main', 'measure', 'new_parser', 'run_cases']

MIN_REPEATS = 7
MIN_SLOW_REPEATS = 3
SLOW_SECONDS = 1.0
"""A round that takes longer is repeated ``MIN_SLOW_REPEATS`` times at least."""
MAX_REPEATS = 200
MAX_WARM_UPS = 5
WARM_UP_SECONDS = 0.2
QUICK_SECONDS = 0.0


@dataclass(frozen=True)
class Peer:
    """Somebody else's way to the same result.

    Attributes:
        run: makes the result.
        compare: judges (our result, the peer's result); None where the two are not comparable.
    """

    run: Callable[[], Any]
    compare: Callable[[Any, Any], Comparison] | None = identical


@dataclass(frozen=True)
class Subject:
    """The inputs of a case, made.

    Attributes:
        ours: the operator on these inputs.
        peers: by name; none at all for a row that only states a time.
        check: judges our result alone, against stored values say.
    """

    ours: Callable[[], Any]
    peers: Mapping[str, Peer] = field(default_factory=dict)
    check: Callable[[Any], Comparison] | None = None


@dataclass(frozen=True)
class Case:
    """One input to measure.

    Attributes:
        operator: the table to which it belongs.
        name: unique in that table.
        prepare: makes the inputs from the command line's options, when it is the case's turn.
        threads: number of threads, where not that of the command line.
    """

    operator: str
    name: str
    prepare: Callable[[argparse.Namespace], Subject]
    threads: int | None = None


def measure(
    runs: Sequence[Callable[[], Any]],
    seconds: float,
    clock: Callable[[Callable[[], Any]], float],
    took: float = 0.0,
) -> list[list[float]]:
    """Time some callables in turn.

    After a warm-up, every round runs each of them once. There are as many rounds as fit into
    ``seconds``, at least ``MIN_REPEATS`` (of slow ones ``MIN_SLOW_REPEATS``) and at most
    ``MAX_REPEATS``.

    Args:
        runs: what to time.
        seconds: for all rounds together.
        clock: runs a callable and returns the seconds that it took.
        took: what a round took just before, seconds; if that is long it was the warm-up.

    Returns:
        For each callable its times, seconds.
    """
    round_seconds = spent = took
    warm_ups = 0
    while warm_ups < MAX_WARM_UPS and spent <= WARM_UP_SECONDS:
        round_seconds = sum(clock(run) for run in runs)
        spent += round_seconds
        warm_ups += 1
    rounds = int(seconds / max(round_seconds, 1e-9))
    fewest = MIN_SLOW_REPEATS if round_seconds > SLOW_SECONDS else MIN_REPEATS
    rounds = min(max(rounds, fewest), MAX_REPEATS)
    times: list[list[float]] = [[] for _ in runs]
    with paused_collector():
        for _ in range(rounds):
            for run, own in zip(runs, times):
                own.append(clock(run))
    return times


@contextlib.contextmanager
def paused_collector() -> Iterator[None]:
    """No garbage collection in the middle of a measurement."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def cpu_clock(run: Callable[[], Any]) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def cuda_clock(run: Callable[[], Any]) -> float:
    """Seconds between two events on the current stream round a call, the device idle before."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000


def set_threads(count: int) -> None:
    """Let torch and OpenCV use this many threads."""
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def run_case(case: Case, options: argparse.Namespace) -> list[dict]:
    """The rows of one case: one for each peer, or one alone."""
    threads = case.threads or options.threads
    set_threads(threads)
    subject = case.prepare(options)
    clock = cuda_clock if options.device == 'cuda' else cpu_clock
    common = dict(
        operator=case.operator,
        case=case.name,
        threads=threads,
        device=options.device,
        dtype=options.dtype,
    )
    own = None if subject.check is None else subject.check(subject.ours())
    rows = []
    for name, peer in (subject.peers or {None: None}).items():
        judged, took = ([] if own is None else [own]), 0.0
        if peer is not None and peer.compare is not None:
            start = time.perf_counter()
            results = subject.ours(), peer.run()
            took = time.perf_counter() - start
            judged.append(peer.compare(*results))
            del results
        runs = [subject.ours] if peer is None else [subject.ours, peer.run]
        times = measure(runs, options.seconds, clock, took)
        rows.append(common | dict(peer=name) | figures(times) | verdict(judged))
    return rows


def figures(times: Sequence[Sequence[float]]) -> dict:
    """Medians, extremes and ratio of one or two lists of seconds, in milliseconds."""
    row: dict[str, Any] = dict(ratio=None, repeats=len(times[0]))
    for who, index in (('ours', 0), ('peer', 1)):
        own = [1000 * seconds for seconds in times[index]] if index < len(times) else None
        row[f'{who}_ms'] = statistics.median(own) if own else None
        row[f'{who}_min'] = min(own) if own else None
        row[f'{who}_max'] = max(own) if own else None
    if row['peer_ms'] is not None:
        row['ratio'] = row['peer_ms'] / row['ours_ms']
    return row


def verdict(judged: Sequence[Comparison]) -> dict:
    """What the comparisons of a row say together; the last one, with the peer, gives the error."""
    last = judged[-1] if judged else Comparison()
    return dict(
        identical=last.identical,
        max_error=last.max_error,
        ok=all(one.ok for one in judged),
        note='; '.join(one.note for one in judged if one.note),
    )


def run_cases(cases: Sequence[Case], options: argparse.Namespace) -> tuple[list[dict], list[str]]:
    """Measure the cases that ``options.cases`` selects.

    Returns:
        The rows, and a sentence for each one whose results differ by more than allowed.
    """
    rows = []
    for case in cases:
        if not fnmatch.fnmatch(case.name, options.cases):
            continue
        print(f'{case.operator}: {case.name} ...', file=sys.stderr, flush=True)
        rows += run_case(case, options)
    return rows, mismatches(rows)


def mismatches(rows: Sequence[dict]) -> list[str]:
    """A sentence for each row whose results differ by more than allowed."""
    return [
        f'MISMATCH: {row["operator"]}, {row["case"]}'
        + (f', beside {row["peer"]}' if row['peer'] else '')
        + (f': {row["note"]}' if row['note'] else '')
        + (f' (max error {row["max_error"]:.3g})' if row['max_error'] is not None else '')
        for row in rows
        if not row['ok']
    ]


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all scripts share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the rows to this file')
    parser.add_argument(
        '--threads',
        type=positive,
        default=available_cores(),
        metavar='N',
        help='of torch and OpenCV alike (all cores)',
    )
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument(
        '--seconds', type=float, default=2.0, help='of timing for each row (%(default)s)'
    )
    parser.add_argument(
        '--quick', action='store_true', help='tiny inputs and few repetitions: shows that it runs'
    )
    return parser


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f'must be a whole number above 0, got {text!r}')
    return int(text)


def main(
    list_cases: Callable[[argparse.Namespace], Sequence[Case]],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
    absent: Mapping[str, str] | None = None,
) -> int:
    """Measure, print the table, write the rows.

    Args:
        list_cases: makes the cases from the options.
        parser: from :func:`new_parser`, with the script's own options.
        argv: the command line.
        absent: peers that cannot be measured here, and why.

    Returns:
        The exit status: 0; 1 if results differ by more than allowed.
    """
    parser.add_argument('--cases', default='*', metavar='GLOB', help='only cases of such a name')
    options = parser.parse_args(argv)
    options.dtype = getattr(options, 'dtype', 'float32')
    if options.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: torch sees no CUDA device')
    if options.quick:
        options.seconds = QUICK_SECONDS
    cases = list_cases(options)
    rows, wrong = run_cases(cases, options)
    if not rows:
        names = '\n  '.join(case.name for case in cases)
        parser.error(f'--cases: no case fits {options.cases!r}; there are\n  {names}')
    result = dict(machine=describe(), absent_peers=dict(absent or {}), rows=rows)
    print(render(result))
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    if options.json is not None:
        write_json(options.json, result)
    return 1 if wrong else 0
