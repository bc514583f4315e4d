"""Docker's grammar of variables, by table."""

from __future__ import annotations

import pytest

from provision.stacks.interpolate import InterpolationError, references, substitute

VALUES = {"SET": "value", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$SET/${SET}", "value/value"),
        ("a$SET.b", "avalue.b"),
        ("$MISSING|", "|"),
        ("${MISSING-d}${EMPTY-d}${SET-d}", "dvalue"),
        ("${MISSING:-d}${EMPTY:-d}${SET:-d}", "ddvalue"),
        ("${MISSING:-}", ""),
        ("${MISSING+x}${EMPTY+x}${SET+x}", "xx"),
        ("${MISSING:+x}${EMPTY:+x}${SET:+x}", "x"),
        ("${SET?needed}${EMPTY?needed}", "value"),
        ("$$SET $${SET}", "$SET ${SET}"),
        ("${MISSING:-http://h:80/p?q}", "http://h:80/p?q"),
    ],
)
def test_variables_are_filled_in_as_docker_does(text: str, result: str) -> None:
    assert substitute(text, VALUES) == result


@pytest.mark.parametrize("text", ["${MISSING?say why}", "${MISSING:?say why}", "${EMPTY:?say why}"])
def test_a_required_variable_that_is_missing_says_so(text: str) -> None:
    with pytest.raises(InterpolationError, match="is required and not set: say why"):
        substitute(text, VALUES)


@pytest.mark.parametrize("text", ["costs 5$", "${", "${}", "${1}", "$1", "${A B}", "${A:x}"])
def test_other_dollars_are_invalid(text: str) -> None:
    with pytest.raises(InterpolationError, match="invalid interpolation"):
        references(text)
