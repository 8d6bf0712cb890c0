"""Cases of families that the toolbox does not have yet are skipped by name, never silently."""

import pytest


@pytest.mark.golden('not_built')
def test_family_not_built(case_name):
    pytest.skip(f'{case_name}: its family is not built yet')
