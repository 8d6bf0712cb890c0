"""Turn a published checkpoint into one of ours.

    python tools/model_converters/from_published.py SRC DST --config CONFIG [--backbone]

The layout is detected from the tensors' names and loaded into the config's model with strict keys.
Exits with 2, naming every tensor, when it does not fit. With --backbone the same is done for the
backbone alone, of a file of ImageNet weights or of a detector; use DST as
init_cfg=dict(type='Pretrained', checkpoint=DST) of the backbone.
"""

import argparse
import sys
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from polarseg.apis import (
    CheckpointError,
    LayoutError,
    backbone_tensors,
    convert_state_dict,
    load_checkpoint_file,
    load_exactly,
    prepare_config,
    unwrap_state_dict,
)
from polarseg.apis.published import LAYOUTS, Layout
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
        '--backbone',
        action='store_true',
        help="convert and check only the backbone of the config's model",
    )
    parser.add_argument(
        '--layout',
        choices=[layout.name for layout in LAYOUTS],
        help='instead of the detected one, such as polarmask-legacy-names for a file with fcos_* '
        'names whose rays have the current order',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='KEY=VALUE ...')
    return parser.parse_args()


def check_files(args: argparse.Namespace) -> None:
    """Refuse to overwrite the source or to write to a folder.

    Raises:
        OSError: the destination cannot be written.
    """
    if args.destination.is_dir():
        raise IsADirectoryError(f'{args.destination} is a folder, name the file to write')
    if args.destination.exists() and args.destination.samefile(args.source):
        raise FileExistsError(f'{args.destination} is the source, which would be overwritten')


def build_model(args: argparse.Namespace) -> nn.Module:
    """The config's model or its backbone.

    Raises:
        OSError: the config does not exist.
    """
    cfg = prepare_config(args.config, cfg_options=args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'polarseg'))
    # only the shapes count: no pretrained weights are fetched for this
    return MODELS.build(cfg.model.backbone if args.backbone else cfg.model)


def load_into_model(
    args: argparse.Namespace, model: nn.Module, state_dict: dict[str, Tensor], layout: Layout
) -> dict[str, Tensor]:
    """Load the tensors into the model or backbone, and return what was loaded.

    Raises:
        LayoutError: they do not fit.
    """
    if layout.backbone_only and not args.backbone:
        raise LayoutError(f'{args.source} ({layout.name}) holds a backbone alone: add --backbone')
    if args.backbone and not layout.backbone_only:
        state_dict = backbone_tensors(state_dict)
    try:
        load_exactly(model, state_dict)
    except LayoutError as error:
        hint = f'\n{layout.hint}' if layout.hint else ''
        raise LayoutError(f'{args.source} ({layout.name}): {error}{hint}') from error
    return state_dict


def convert(args: argparse.Namespace) -> str:
    """Convert and write; returns a summary.

    Raises:
        CheckpointError: the source is unreadable or unsafe.
        LayoutError: the source has no known layout or does not fit the model.
        OSError: source or config do not exist, or the destination cannot be written.
    """
    check_files(args)
    checkpoint = load_checkpoint_file(args.source)
    model = build_model(args)
    converted, layout = convert_state_dict(
        checkpoint, args.layout, model=None if args.backbone else model
    )
    state_dict = load_into_model(args, model, converted, layout)
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
    summary = f'{args.source} ({layout.name}, {len(state_dict)} tensors) -> {args.destination}'
    left_out = [name for name in unwrap_state_dict(checkpoint) if layout.ignored(name)]
    if left_out:
        summary += f'\nleft out: {", ".join(left_out)}'
    if len(state_dict) < len(converted):
        summary += f'\nleft out: {len(converted) - len(state_dict)} tensors outside the backbone'
    return summary


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
