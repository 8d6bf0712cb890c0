"""Build backend of ``pip install -e .``: setuptools, with the environment's own torch in sight.

pip builds in an isolated environment without torch, and an isolated torch would be another one than
the operators have to be compiled against. So the site-packages of the interpreter that pip runs in
are appended to the path, behind the isolated packages. ``--no-build-isolation`` works as ever.
"""

import sys
import sysconfig

from setuptools import build_meta

for folder in ('purelib', 'platlib'):
    if sysconfig.get_paths()[folder] not in sys.path:
        sys.path.append(sysconfig.get_paths()[folder])

build_editable = build_meta.build_editable
build_sdist = build_meta.build_sdist
build_wheel = build_meta.build_wheel
get_requires_for_build_editable = build_meta.get_requires_for_build_editable
get_requires_for_build_sdist = build_meta.get_requires_for_build_sdist
get_requires_for_build_wheel = build_meta.get_requires_for_build_wheel
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable
prepare_metadata_for_build_wheel = build_meta.prepare_metadata_for_build_wheel
