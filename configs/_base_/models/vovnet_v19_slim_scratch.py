# VoVNetV2-19-slim that learns from scratch: norms learn too, nothing is frozen
scratch_backbone = dict(
    type='polarseg.VoVNet',
    arch='V-19-slim',
    out_indices=(1, 2, 3),
    frozen_stages=-1,
    norm_cfg=dict(type='BN', requires_grad=True),
    norm_eval=False,
)
