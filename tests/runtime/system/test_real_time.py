"""A thread goes before all ordinary programs where the kernel allows it, and comes back."""

import os
from typing import NoReturn

import pytest

from leansight.runtime.system.real_time import real_time


def forbidden(*_: object) -> NoReturn:
    raise PermissionError


def test_a_thread_is_real_time_inside_and_ordinary_after_an_error() -> None:
    before, inside = os.sched_getscheduler(0), []

    def fail() -> NoReturn:
        with real_time() as allowed:
            inside.append((allowed, os.sched_getscheduler(0)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert inside in ([(True, os.SCHED_FIFO)], [(False, before)])
    assert os.sched_getscheduler(0) == before


def test_where_it_is_forbidden_all_goes_on_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    with real_time() as allowed:
        assert not allowed


def test_other_systems_have_no_such_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setscheduler")
    with real_time() as allowed:
        assert not allowed
