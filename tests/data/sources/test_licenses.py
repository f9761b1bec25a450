"""Which license allows which use."""

import pytest

from diffutron.data.sources.licenses import check_licenses, license_of
from diffutron.runtime.errors import UserError


@pytest.mark.parametrize(
    ("source", "stated", "flag", "commercial"),
    [
        ("x", "CC BY-NC-SA 4.0", None, False),
        ("x", "non-commercial research", None, False),
        ("x", "CC BY-SA 4.0", None, True),
        ("x", "own contract", False, False),
        ("x", "CC BY-NC 4.0", True, True),
        ("x", None, None, None),
        ("x", None, True, True),
        ("wikimedia/wikipedia", None, None, True),
        ("wikimedia/wikipedia", "CC BY-NC 4.0", None, False),
    ],
)
def test_a_license_is_judged_by_its_flag_then_by_its_name(source, stated, flag, commercial):
    found = license_of(source, stated, commercial=flag)
    assert found.commercial is commercial
    check_licenses([found], use="research", allowed=[])
    check_licenses([found], use="commercial", allowed=[found.license])
    if not commercial:
        with pytest.raises(UserError, match=r"license of .* is .* corpus\.allowed_licenses"):
            check_licenses([found], use="commercial", allowed=[])
