"""The size of a picture that no transform has moved yet."""

__all__ = ['unmoved_size']


def unmoved_size(results: dict, who: str) -> tuple[int, int]:
    """Height and width of a picture, pixels, which annotations of it have too.

    Args:
        results: of a pipeline, with ``ori_shape``, or ``height`` and ``width``.
        who: the transform that asks.

    Raises:
        ValueError: if the picture has been resized, cropped or flipped before.
    """
    size = tuple(results.get('ori_shape') or (results['height'], results['width']))
    if results.get('flip') or tuple(results.get('img_shape', size)) != size:
        raise ValueError(
            f'{who} goes before resizing, cropping and flipping; the picture is '
            f'{list(results["img_shape"])} now and was {list(size)}'
        )
    return size
