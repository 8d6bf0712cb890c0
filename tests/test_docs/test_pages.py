"""What README and docs say can be followed: links lead somewhere, examples load."""

import json
import re

import cv2
import numpy as np
import pytest

from polarseg.apis import prepare_config
from polarseg.registry import DATASETS, METRICS, MODELS


def pages(root):
    return [root / 'README.md', *sorted((root / 'docs').glob('*.md'))]


def test_links_and_named_files_exist(repo_root):
    missing = []
    for page in pages(repo_root):
        text = page.read_text()
        for target in re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', text):
            if not target.startswith('http') and not (page.parent / target).exists():
                missing.append(f'{page.name}: {target}')
        for path in re.findall(r'`((?:polarseg|tools|configs|demo|tests|csrc)/[\w./-]+)`', text):
            if not (repo_root / path).exists():
                missing.append(f'{page.name}: {path}')
        for path in re.findall(r'(?:python|bash|sh) ((?:\./)?(?:tools|demo)/\S+\.(?:py|sh))', text):
            if not (repo_root / path).exists():
                missing.append(f'{page.name}: {path}')
    assert not missing


def test_no_placeholder_is_left(repo_root):
    for page in pages(repo_root):
        left = re.findall(
            r'^\W*[A-Z]+_[A-Z_]+\W*$|TODO|FIXME', page.read_text(), flags=re.MULTILINE
        )
        assert not left, page


@pytest.fixture
def own_data(tmp_path):
    """The data that the README's example config names."""
    folder = tmp_path / 'data/mine'
    (folder / 'images').mkdir(parents=True)
    cv2.imwrite(str(folder / 'images/a.png'), np.zeros((60, 80, 3), np.uint8))
    content = dict(
        images=[dict(id=1, file_name='a.png', height=60, width=80)],
        categories=[dict(id=7, name='dog'), dict(id=9, name='cat')],
        annotations=[
            dict(
                id=1,
                image_id=1,
                category_id=9,
                iscrowd=0,
                bbox=[10, 10, 30, 30],
                area=900,
                segmentation=[[10, 10, 40, 10, 40, 40, 10, 40]],
            )
        ],
    )
    for name in ('train', 'val'):
        (folder / f'{name}.json').write_text(json.dumps(content))
    return tmp_path


def test_readme_config_for_own_data(repo_root, own_data, monkeypatch):
    text = (repo_root / 'README.md').read_text()
    (example,) = re.findall(r'```python\n(_base_ = .*?)```', text, flags=re.DOTALL)
    example = example.replace("'configs/", f"'{repo_root}/configs/")
    config_file = own_data / 'mine.py'
    config_file.write_text(example)
    monkeypatch.chdir(own_data)
    cfg = prepare_config(config_file)
    assert cfg.model.bbox_head.num_classes == 2
    cfg.model.backbone.init_cfg = None
    MODELS.build(cfg.model)
    train = DATASETS.build(cfg.train_dataloader.dataset)
    sample = train[0]['data_samples'].gt_instances
    assert sample.labels.tolist() == [0]
    assert len(sample.contours) == 1
    assert len(DATASETS.build(cfg.val_dataloader.dataset)) == 1
    METRICS.build(dict(cfg.val_evaluator))
