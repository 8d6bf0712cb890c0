"""Published tensor lists convert with nothing missing and nothing left over."""

import pytest
from blendmask_configs import config_of
from golden_tools import build_published
from published_names import published_blendmask_name

pytestmark = pytest.mark.golden('blendmask_layout')


def test_layout_loads_exactly(case, case_name, recipe, request):
    config = config_of(case_name, case, request.config.rootpath)
    tensors = recipe.state_dict(case)
    model, layout = build_published(config, tensors)
    assert layout.name == 'blendmask'
    # frozen norms have no counter in published files
    own = dict(model.state_dict())
    counters = {name for name in own if name.endswith('num_batches_tracked')}
    published = {published_blendmask_name(name): name for name in own}
    assert len(published) == len(own)
    assert {published[name] for name in tensors} | counters == own.keys()
    for name, tensor in tensors.items():
        assert (own[published[name]] == tensor).all(), name
