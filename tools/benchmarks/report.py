"""Tables and files of benchmark results."""

import json
from collections.abc import Sequence
from pathlib import Path

from machine import lines as machine_lines

__all__ = ['ROW_KEYS', 'render', 'write_json']

ROW_KEYS = (
    'operator',
    'case',
    'ours_ms',
    'ours_min',
    'ours_max',
    'peer',
    'peer_ms',
    'peer_min',
    'peer_max',
    'ratio',
    'identical',
    'max_error',
    'ok',
    'note',
    'repeats',
    'threads',
    'device',
    'dtype',
)
"""Of every row. ``ratio`` is peer_ms / ours_ms; what does not apply is None."""

COLUMNS = ('case', 'on', 'ours, ms', 'peer', 'peer, ms', 'ratio', 'results', 'runs')
RIGHT = {'ours, ms', 'peer, ms', 'ratio', 'runs'}
NOTHING = '-'


def render(result: dict) -> str:
    """Markdown: machine and versions, peers that are absent, one table for each operator."""
    parts = ['\n'.join(machine_lines(result['machine']))]
    absent = [f'- no {name}: {why}' for name, why in result['absent_peers'].items()]
    parts[0] = '\n'.join([parts[0], *absent])
    rows = result['rows']
    for operator in dict.fromkeys(row['operator'] for row in rows):
        parts.append(f'### {operator}')
        parts.append(table([row for row in rows if row['operator'] == operator]))
    return '\n\n'.join(parts) + '\n'


def table(rows: Sequence[dict]) -> str:
    """The rows as a Markdown table whose columns stand under one another."""
    cells = [list(COLUMNS), *(row_cells(row) for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(COLUMNS))]
    rule = [
        '-' * (width - 1) + ':' if name in RIGHT else '-' * width
        for name, width in zip(COLUMNS, widths)
    ]
    written = [pad(line, widths) for line in (cells[0], rule, *cells[1:])]
    return '\n'.join(f'| {" | ".join(line)} |' for line in written)


def pad(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Fill cells with blanks, on the left in columns of numbers."""
    padded = []
    for name, cell, width in zip(COLUMNS, line, widths):
        blanks = ' ' * (width - len(cell))
        padded.append(blanks + cell if name in RIGHT else cell + blanks)
    return padded


def row_cells(row: dict) -> list[str]:
    """One row for reading."""
    return [
        row['case'],
        where(row),
        times(row, 'ours'),
        row['peer'] or NOTHING,
        times(row, 'peer'),
        NOTHING if row['ratio'] is None else f'{significant(row["ratio"], 3)}x',
        outcome(row),
        str(row['repeats']),
    ]


def where(row: dict) -> str:
    """Device with its threads, and the dtype where it is not the usual one."""
    threads = f'{row["threads"]} thread{"s" * (row["threads"] != 1)}'
    device = threads if row['device'] == 'cpu' else row['device']
    return device if row['dtype'] == 'float32' else f'{device}, {row["dtype"]}'


def times(row: dict, who: str) -> str:
    """Median and extremes."""
    if row[f'{who}_ms'] is None:
        return NOTHING
    middle, low, high = (significant(row[f'{who}_{what}'], 3) for what in ('ms', 'min', 'max'))
    return f'{middle} ({low} to {high})'


def significant(value: float, digits: int) -> str:
    """At least ``digits`` significant digits, never an exponent: 0.0123, 1.23, 12.3, 1234."""
    if value == 0:
        return '0'
    magnitude = int(f'{abs(value):e}'.partition('e')[2])
    return f'{value:.{max(digits - 1 - magnitude, 0)}f}'


def outcome(row: dict) -> str:
    """What the comparison found."""
    found = []
    if row['identical']:
        found.append('identical')
    elif row['max_error'] is not None:
        found.append(f'max error {row["max_error"]:.1e}')
    if row['note']:
        found.append(row['note'])
    text = '; '.join(found) or NOTHING
    return text if row['ok'] else f'**MISMATCH** {text}'


def write_json(path: Path, result: dict) -> None:
    """All rows with machine, versions and absent peers."""
    path.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
