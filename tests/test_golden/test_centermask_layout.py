"""Published tensor lists convert with nothing missing and nothing left over."""

import pytest
from centermask_configs import config_of
from golden_tools import build_published

pytestmark = pytest.mark.golden('centermask_layout')


def test_layout_loads_exactly(case, case_name, recipe, request):
    config = config_of(case_name, case, request.config.rootpath)
    tensors = recipe.state_dict(case)
    model, layout = build_published(config, tensors)
    assert layout.name == ('centermask' if 'orig' in case_name else 'centermask2')
    own = [name for name in model.state_dict() if not name.endswith('num_batches_tracked')]
    assert len(own) == len(tensors)
