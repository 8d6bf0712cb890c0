"""Turn a published checkpoint into one of ours.

    python tools/model_converters/from_published.py SRC DST --config CONFIG

The layout is detected from the tensors' names and loaded into the config's model with strict keys.
Exits with 2, naming every tensor, when it does not fit.
"""

import argparse
import sys
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.registry import init_default_scope

from polarseg.apis import (
    CheckpointError,
    LayoutError,
    convert_state_dict,
    load_checkpoint_file,
    load_exactly,
    prepare_config,
)
from polarseg.apis.published import LAYOUTS
from polarseg.registry import MODELS
from polarseg.version import __version__


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', help='published checkpoint')
    parser.add_argument('destination', type=Path, help='file to write')
    parser.add_argument('--config', required=True, help='config of the model')
    parser.add_argument(
        '--layout',
        choices=[layout.name for layout in LAYOUTS],
        help='instead of the detected one, such as polarmask-legacy-names for a file with fcos_* '
        'names whose rays have the current order',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='KEY=VALUE ...')
    return parser.parse_args()


def convert(args: argparse.Namespace) -> str:
    """Convert and write; returns a summary.

    Raises:
        CheckpointError: the source is unreadable or unsafe.
        LayoutError: the source has no known layout or does not fit the model.
        OSError: source or config do not exist, or the destination cannot be written.
    """
    if args.destination.is_dir():
        raise IsADirectoryError(f'{args.destination} is a folder, name the file to write')
    if args.destination.exists() and args.destination.samefile(args.source):
        raise FileExistsError(f'{args.destination} is the source, which would be overwritten')
    checkpoint = load_checkpoint_file(args.source)
    state_dict, layout = convert_state_dict(checkpoint, args.layout)
    cfg = prepare_config(args.config, cfg_options=args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'polarseg'))
    # only the shapes count: no pretrained weights are fetched for this
    model = MODELS.build(cfg.model)
    load_exactly(model, state_dict)
    source_meta = checkpoint.get('meta') if isinstance(checkpoint.get('meta'), dict) else {}
    meta = dict(
        converted_from=Path(args.source).name,
        layout=layout.name,
        licence=layout.licence,
        polarseg_version=__version__,
        config=Path(args.config).name,
        source_epoch=source_meta.get('epoch'),
    )
    if source_meta.get('CLASSES'):
        names = [name.replace('_', ' ') for name in source_meta['CLASSES']]
        meta['dataset_meta'] = dict(classes=tuple(names))
    args.destination.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(meta=meta, state_dict=state_dict), args.destination)
    return f'{args.source} ({layout.name}, {len(state_dict)} tensors) -> {args.destination}'


def main() -> None:
    """Run the converter."""
    args = parse_args()
    try:
        print(convert(args))
    except (CheckpointError, LayoutError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)


if __name__ == '__main__':
    main()
