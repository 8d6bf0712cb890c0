# What the panoptic models for small pictures share, as variables
small_panoptic_preprocessor = dict(
    _delete_=True,
    type='PanopticDataPreprocessor',
    mean=[127.5, 127.5, 127.5],
    std=[64.0, 64.0, 64.0],
    bgr_to_rgb=False,
    pad_size_divisor=32,
)
# the published 4,096 are 1 of 75 pixels of a picture of 640 x 480; here of 128 x 128
small_stuff_area_limit = 128 * 128 // 75
