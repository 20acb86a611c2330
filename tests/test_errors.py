from __future__ import annotations

import pickle

import pytest

from skystage import errors


def every_error() -> list[type[errors.SkystageError]]:
    found, new = [], [errors.SkystageError]
    while new:
        found += new
        new = [sub for error in new for sub in error.__subclasses__()]
    return [error for error in found if error.__module__ == "skystage.errors"]


def test_the_tree_in_the_documentation_names_every_error():
    for error in every_error():
        assert error.__name__ in errors.__doc__


def test_what_is_read_is_one_line_with_the_hint_behind_it():
    assert str(errors.NotFound("gone", hint="plan again")) == "gone (plan again)"
    assert str(errors.NotFound("gone")) == "gone"


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.__name__)
def test_every_error_crosses_process_borders_whole(error):
    if error is errors.FetchFailed:
        made = error({"a": errors.Throttled("slow", retry_after=3, hint="wait")}, 2)
    else:
        made = error("message", hint="hint", retry_after=2.5)
    found = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own bytes
    assert type(found) is error
    assert (str(found), found.retry_after, found.transient) == (str(made), made.retry_after, made.transient)


def test_a_batch_is_worth_retrying_if_one_of_its_failures_is_transient():
    lasting = errors.NotFound("gone")
    assert not errors.FetchFailed({"a": lasting}, 1).transient
    both = errors.FetchFailed({"a": lasting, "b": errors.Throttled("slow")}, 5)
    assert both.transient
    assert str(both) == "2 of 5 assets failed, the first: a: gone"
    assert set(both.failures) == {"a", "b"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.QueryError, 2),
        (errors.AreaError, 2),
        (errors.PlanError, 2),
        (errors.SearchError, 1),
        (errors.Unauthorized, 4),
        (errors.CredentialsMissing, 5),
        (errors.NotEnoughDisk, 6),
        (errors.StoreError, 1),
    ],
)
def test_exit_codes_are_those_that_scripts_rely_on(error, code):
    assert error("x").exit_code == code
