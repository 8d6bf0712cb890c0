"""Registries of polarseg, children of mmdet's.

A config with ``default_scope = 'polarseg'`` finds our components by their bare name, and mmdet's
where we have none of that name. The modules named here are imported the first time that a registry
is searched, so nobody has to import the components by hand. mmengine imports those of the registry
asked, not those of its parents, so mmdet's own are named too.
"""

import contextlib
import io
import warnings

from mmdet import registry as _mmdet
from mmengine.registry import Registry

# mmdet prints and warns about optional packages on import; no user of ours can do anything about it
with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter('ignore')
    import mmdet.datasets
    import mmdet.evaluation  # noqa: F401

SCOPE = 'polarseg'


def _child(parent: Registry, *locations: str) -> Registry:
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=list(locations))


RUNNERS = _child(_mmdet.RUNNERS, 'mmdet.engine.runner', 'polarseg.apis')
RUNNER_CONSTRUCTORS = _child(_mmdet.RUNNER_CONSTRUCTORS, 'mmdet.engine.runner')
LOOPS = _child(_mmdet.LOOPS, 'mmdet.engine.runner', 'polarseg.apis')
HOOKS = _child(_mmdet.HOOKS, 'mmdet.engine.hooks', 'polarseg.apis')
DATASETS = _child(_mmdet.DATASETS, 'mmdet.datasets', 'polarseg.datasets')
DATA_SAMPLERS = _child(_mmdet.DATA_SAMPLERS, 'mmdet.datasets.samplers', 'polarseg.datasets')
TRANSFORMS = _child(_mmdet.TRANSFORMS, 'mmdet.datasets.transforms', 'polarseg.datasets.transforms')
MODELS = _child(_mmdet.MODELS, 'mmdet.models', 'polarseg.models')
MODEL_WRAPPERS = _child(_mmdet.MODEL_WRAPPERS, 'mmdet.models', 'polarseg.apis')
WEIGHT_INITIALIZERS = _child(_mmdet.WEIGHT_INITIALIZERS, 'mmdet.models')
TASK_UTILS = _child(_mmdet.TASK_UTILS, 'mmdet.models', 'polarseg.models.task_modules')
OPTIMIZERS = _child(_mmdet.OPTIMIZERS, 'mmdet.engine.optimizers')
OPTIM_WRAPPERS = _child(_mmdet.OPTIM_WRAPPERS, 'mmdet.engine.optimizers', 'polarseg.apis')
OPTIM_WRAPPER_CONSTRUCTORS = _child(_mmdet.OPTIM_WRAPPER_CONSTRUCTORS, 'mmdet.engine.optimizers')
PARAM_SCHEDULERS = _child(_mmdet.PARAM_SCHEDULERS, 'mmdet.engine.schedulers')
METRICS = _child(_mmdet.METRICS, 'mmdet.evaluation', 'polarseg.evaluation')
EVALUATOR = _child(_mmdet.EVALUATOR, 'mmdet.evaluation')
VISUALIZERS = _child(_mmdet.VISUALIZERS, 'mmdet.visualization', 'polarseg.visualization')
VISBACKENDS = _child(_mmdet.VISBACKENDS, 'mmdet.visualization')
LOG_PROCESSORS = _child(_mmdet.LOG_PROCESSORS, 'mmdet.engine')
