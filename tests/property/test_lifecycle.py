"""The agent's states as a table: all can be reached, all can be left, a kill leaves something served."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edgeops.core import lifecycle
from edgeops.core.lifecycle import (
    DROP_CANDIDATE,
    FINISH_ROLLBACK,
    FINISH_SWITCH,
    POINT_CURRENT,
    Facts,
    Undefined,
    after,
    recover,
)

SLOTS = st.sampled_from(["", "a", "b", "c"])


def reached(start):
    found, new = {start}, {start}
    while new:
        new = {goal for (state, _), goal in lifecycle.TABLE.items() if state in new} - found
        found |= new
    return found


def test_each_state_can_be_reached_and_left():
    assert reached(lifecycle.IDLE) == set(lifecycle.STATES)
    for state in lifecycle.STATES:
        assert lifecycle.IDLE in reached(state)


def test_each_event_has_a_place_or_is_refused():
    for state in lifecycle.STATES:
        for event in lifecycle.EVENTS:
            if (state, event) in lifecycle.TABLE:
                assert after(state, event) in lifecycle.STATES
            else:
                with pytest.raises(Undefined):
                    after(state, event)


def test_the_way_of_an_update():
    state = lifecycle.IDLE
    way = []
    for event in ("offer", "fetched", "warm", "accepted", "switched", "kept"):
        state = after(state, event)
        way.append(state)
    assert way == ["fetching", "staged", "warming", "switching", "probation", "idle"]


def test_a_rollback_is_possible_wherever_links_are_not_being_changed():
    possible = {state for state, event in lifecycle.TABLE if event == "rollback"}
    assert possible == set(lifecycle.STATES) - {lifecycle.SWITCHING, lifecycle.ROLLING_BACK}


@given(
    st.sampled_from(lifecycle.STATES),
    st.builds(Facts, current=SLOTS, previous=SLOTS, candidate=SLOTS, link=SLOTS),
)
def test_recovery_ends_at_rest_and_is_done_once(state, facts):
    goal, actions = recover(state, facts)
    assert goal in lifecycle.AT_REST
    assert set(actions) <= {DROP_CANDIDATE, FINISH_SWITCH, FINISH_ROLLBACK, POINT_CURRENT}
    settled = Facts(current=facts.current, previous=facts.previous, link=facts.current)
    assert recover(goal, settled) == (goal, [])


class Device(RuleBasedStateMachine):
    """A device in values: what the state file says, and links that a kill leaves anywhere."""

    def __init__(self):
        super().__init__()
        self.number = 0
        self.state = lifecycle.IDLE
        self.current = self.previous = self.candidate = ""
        self.link = self.back = ""

    def go(self, event):
        self.state = after(self.state, event)

    @rule()
    def offer(self):
        if self.state == lifecycle.IDLE:
            self.number += 1
            self.candidate = f"slot{self.number}"
            self.go("offer")

    @rule(event=st.sampled_from(["fetched", "warm", "accepted"]))
    def forward(self, event):
        if (self.state, event) in lifecycle.TABLE:
            self.go(event)

    @rule()
    def fail(self):
        if self.state in lifecycle.UNDER_WAY:
            self.go("failed")
            self.candidate = ""

    @rule(done=st.integers(0, 2))
    def switch(self, done):
        """Change the links as far as a kill lets it."""
        if self.state != lifecycle.SWITCHING:
            return
        if done > 0:
            self.back = self.current
        if done > 1:
            self.link = self.candidate
            self.finish_switch()

    def finish_switch(self):
        self.back, self.link = self.current, self.candidate
        self.previous, self.current, self.candidate = self.current, self.candidate, ""
        self.go("switched")

    @rule()
    def keep(self):
        if self.state == lifecycle.PROBATION:
            self.go("kept")

    @rule(finish=st.booleans(), moved=st.booleans())
    def rollback(self, finish, moved):
        if self.previous and (self.state, "rollback") in lifecycle.TABLE:
            self.go("rollback")
            self.candidate = ""
            if moved or finish:
                self.link = self.previous
            if finish:
                self.finish_rollback()

    def finish_rollback(self):
        self.link, self.current, self.previous, self.back = self.previous, self.previous, "", ""
        self.go("returned")

    @rule()
    def kill(self):
        facts = Facts(self.current, self.previous, self.candidate, self.link)
        goal, actions = recover(self.state, facts)
        for action in actions:
            if action == FINISH_SWITCH:
                self.finish_switch()
            elif action == FINISH_ROLLBACK:
                self.finish_rollback()
            elif action == DROP_CANDIDATE:
                self.candidate = ""
            else:
                self.link, self.back = self.current, self.previous
        self.state = goal
        assert self.link == self.current
        assert self.candidate == ""

    @invariant()
    def something_whole_is_served(self):
        known = {self.current, self.previous, self.candidate}
        assert self.link in known
        if self.current:
            assert self.link

    @invariant()
    def the_link_says_what_the_state_says_at_rest(self):
        if self.state in lifecycle.AT_REST:
            assert self.link == self.current


TestDevice = Device.TestCase
