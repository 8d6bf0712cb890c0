"""What the command lines in tools/ call."""

from polarseg.apis import checkpoint_schemes as _checkpoint_schemes  # noqa: F401 (registers)
from polarseg.apis.amp import CpuAmpOptimWrapper
from polarseg.apis.checkpoint import (
    CheckpointError,
    UnsafeCheckpointError,
    find_newest_checkpoint,
    load_checkpoint_file,
    resolve_checkpoint,
)
from polarseg.apis.cli import add_run_arguments, leave_at_once, named_errors
from polarseg.apis.config import (
    apply_inclusive_boxes,
    draw_predictions,
    enable_amp,
    enable_lr_scaling,
    prepare_config,
    relocate_data_root,
    set_evaluation,
    set_randomness,
    set_resume,
)
from polarseg.apis.inferencer import (
    InstanceInferencer,
    Prediction,
    find_pictures,
    predictions_to_coco,
)
from polarseg.apis.launch import CPUDistributedDataParallel, LaunchError, distributed
from polarseg.apis.published import (
    LayoutError,
    backbone_tensors,
    convert_state_dict,
    load_exactly,
    unwrap_state_dict,
)
from polarseg.apis.runner import (
    DumpPredictions,
    MatchingClassesHook,
    MatchingWeightsHook,
    build_runner,
    run_test,
    run_training,
)

__all__ = [
    'CPUDistributedDataParallel',
    'CheckpointError',
    'CpuAmpOptimWrapper',
    'DumpPredictions',
    'InstanceInferencer',
    'LaunchError',
    'LayoutError',
    'MatchingClassesHook',
    'MatchingWeightsHook',
    'Prediction',
    'UnsafeCheckpointError',
    'add_run_arguments',
    'apply_inclusive_boxes',
    'backbone_tensors',
    'build_runner',
    'convert_state_dict',
    'distributed',
    'draw_predictions',
    'enable_amp',
    'enable_lr_scaling',
    'find_newest_checkpoint',
    'find_pictures',
    'leave_at_once',
    'load_checkpoint_file',
    'load_exactly',
    'named_errors',
    'predictions_to_coco',
    'prepare_config',
    'relocate_data_root',
    'resolve_checkpoint',
    'run_test',
    'run_training',
    'set_evaluation',
    'set_randomness',
    'set_resume',
    'unwrap_state_dict',
]
