"""Published tensor lists convert with nothing missing and nothing left over."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config

from polarseg.apis.published import convert_state_dict, load_exactly
from polarseg.registry import MODELS


@pytest.mark.golden('polarmask_layout')
def test_layout_loads_exactly(case, case_name, recipe, request):
    named = re.search(r'configs/polarmask/\S+\.py', case['source'])
    assert named, f'{case_name} names no config in its source: {case["source"]!r}'
    config = Config.fromfile(Path(request.config.rootpath) / named[0])
    config.model.backbone.init_cfg = None
    model = MODELS.build(config.model)
    converted, _ = convert_state_dict(recipe.state_dict(case))
    load_exactly(model, converted)
    assert len(converted) == len(case['tensors'])
