"""The published treatment of biases and norm layers, in the groups that are really built."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from polarseg.registry import MODELS

FOLDER = Path(__file__).resolve().parents[2] / 'configs/polarmask'
BASE, BIAS = (1.0, 1e-4), (2.0, 0.0)


@pytest.fixture(scope='module', params=['4gpu/polar_768_1x_r50', '32gpu/polar_768_1x_r50_dcn2'])
def groups(request):
    """Learning rate factor and weight decay of every trained parameter, by its name."""
    cfg = Config.fromfile(FOLDER / f'{request.param}.py')
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    rate = cfg.optim_wrapper.optimizer.lr
    return request.param, {
        name_of[id(parameter)]: (group['lr'] / rate, group['weight_decay'])
        for group in optimizer.param_groups
        for parameter in group['params']
        if parameter.requires_grad
    }


def test_groups(groups):
    config, by_name = groups
    dcn = 'dcn' in config
    for name, found in by_name.items():
        if name.endswith('.gn.bias'):
            # told by its name, the GN of a deformable tower was not known as a norm layer
            expected = BIAS if dcn else BASE
        elif name.endswith('.bias'):
            expected = BIAS
        else:
            expected = BASE
        assert found == pytest.approx(expected), name
    kinds = {name.rsplit('.', 2)[-2] for name in by_name}
    assert ('conv_offset' in kinds) is dcn
    assert {'conv', 'gn', 'polar_cls'} <= kinds
