"""polarseg: fast, anchor-free instance and panoptic segmentation.

Importing the package imports nothing else, so that ``polarseg.ops`` needs torch alone. The
components register themselves when a registry first looks for them (``polarseg.registry``), which
``default_scope = 'polarseg'`` in a config is enough to cause.
"""

from polarseg.version import __version__

__all__ = ['__version__']
