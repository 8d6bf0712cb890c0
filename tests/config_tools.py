"""What the tests of configs and of published networks have in common."""

from mmengine.config import ConfigDict


def without_pretrained(node):
    """The config with every init_cfg that would fetch weights taken out."""
    if isinstance(node, dict):
        return ConfigDict(
            (key, without_pretrained(value))
            for key, value in node.items()
            if not (key == 'init_cfg' and value and dict(value).get('type') == 'Pretrained')
        )
    if isinstance(node, (list, tuple)):
        return type(node)(without_pretrained(item) for item in node)
    return node
