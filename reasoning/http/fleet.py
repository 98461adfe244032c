"""The servers behind a pool: who gets a call, how each of them fares, who comes and who goes.

What it means for one server is in `standing`, who gets a call in `placing`; here are the calls that
wait for it, the alarms, and the end of all hope.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

from reasoning.clock import Clock
from reasoning.errors import EngineError, TransientError
from reasoning.http.admission import Limits
from reasoning.http.connection import Reply
from reasoning.http.placing import Places, Prefixes, Ticket
from reasoning.http.refusal import BUSY, ONE_AT_A_TIME, refusal, retry_after
from reasoning.http.replica import Replica

log = logging.getLogger(__name__)


class Fleet:
    """Servers and the calls that wait for them, for one event loop.

    patient: servers that cannot be reached are waited for from the start.
    breaks: one has ended answers in the middle for the sake of other calls.
    calls: how many are under way or in line. met: one of them has been taken.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self.places = Places()
        self.patient = False
        self.breaks = False
        self.calls = 0
        self.met = False
        self._clock = clock
        self._served: Counter[str] = Counter()

    @property
    def replicas(self) -> list[Replica]:
        return self.places.replicas

    @property
    def served(self) -> Mapping[str, int]:
        """Calls answered by each server, also by those that have left."""
        live = {r.name: r.taken for r in self.replicas if r.taken}
        return dict(sorted((self._served + Counter(live)).items()))

    @property
    def standing(self) -> str:
        """How the servers stand, in words: so many of each state, by name where not all is well."""
        states = Counter(replica.state for replica in self.replicas)
        names = [f"{r.name} is {r.state}" for r in self.replicas if r.state != "healthy"][:8]
        return ", ".join([f"{states[state]} {state}" for state in sorted(states)] + names)

    # Who gets a call, and when.

    async def enter(self, near: Prefixes) -> Replica:
        """Wait for a server that has room; the caller counts among its busy ones."""
        now = self._clock.now()
        replica = self.places.enter(near, now)
        if replica is not None:
            return replica
        ticket = Ticket(near)
        self.places.wait(ticket, now)
        try:
            return await ticket.turn
        except asyncio.CancelledError:
            turn = ticket.turn
            if turn.done() and not turn.cancelled() and not turn.exception():
                self.leave(turn.result())
            else:
                self.places.leave(ticket, self._clock.now())
            raise

    def leave(self, replica: Replica) -> None:
        """A call is over there."""
        replica.busy -= 1
        replica.left = self._clock.now()
        self.moved(replica)
        if not replica.listed and replica.state == "gone":
            self.drop(replica)

    def moved(self, replica: Replica) -> None:
        """Something about a server has changed: calls in line may go there now."""
        now = self._clock.now()
        self.places.serve(replica, now)
        if replica.lined and not replica.usable:
            self.places.dissolve(replica, now)

    def dismiss(self, error: EngineError) -> None:
        """Fail all calls in line."""
        self.places.dismiss(error)

    # Who comes, and who goes.

    def join(self, replica: Replica) -> None:
        """A server that may be called, perhaps once it has said that it has the model."""
        self.places.add(replica, self._clock.now())
        if self.patient or len(self.replicas) > 1:
            for other in self.replicas if len(self.replicas) == 2 else (replica,):
                other.start_slowly()
        if self.places.waiting:
            self.moved(replica)

    def unlist(self, replica: Replica) -> None:
        """It gets no more calls; what it holds may end there."""
        replica.unlist()
        self.moved(replica)
        if replica.state == "gone":
            self.drop(replica)
        else:
            log.info("%s is to leave; %d calls end there", replica.name, replica.busy)

    def drop(self, replica: Replica) -> None:
        """It has left."""
        if replica not in self.replicas:
            return
        self.places.remove(replica)
        self._quiet(replica)
        for connection in replica.idle:
            connection.close()
        replica.idle.clear()
        self._served[replica.name] += replica.taken
        log.info("%s has left after %d calls", replica.name, replica.taken)

    def close(self) -> None:
        for replica in self.replicas:
            self._quiet(replica)

    # How servers fare.

    def begun(self, replica: Replica, cuts: int, status: int) -> None:
        """A server has begun to answer what was sent after so many cuts: does it take calls?"""
        if status in BUSY or status == 500:  # 500: what it says is not known yet
            return
        self.met = True
        back = replica.failures > 0
        if replica.begun(cuts):
            self.moved(replica)
        if back and len(self.replicas) > 1:
            log.info("%s takes calls again", replica.name)

    def connected(self, replica: Replica) -> None:
        """A server has taken a connection."""
        if replica.failures and not replica.refusing:
            replica.reached()
            self.moved(replica)

    def weighed(self, replica: Replica, before: float) -> None:
        """A server's share has changed."""
        if (before == 1) != (replica.weight == 1):
            how = "is slow, and gets fewer calls" if replica.weight < 1 else "is as fast as others"
            log.info("%s %s", replica.name, how)
        self.places.dissolve(replica, self._clock.now())

    def broke(self, replica: Replica) -> None:
        """A call broke, or its server fell silent. Where there are others they are asked first."""
        if len(self.replicas) > 1:
            before = replica.failures
            replica.broke(self._clock.now())
            if replica.failures > before:
                self._rest(replica, "breaks its answers off")

    def turned_away(self, replica: Replica, reply: Reply, call: int) -> None:
        """A server refuses a call for now, which still counts as busy.

        Raises EngineError if no call at all has been taken for too long: one alone may be at fault.
        """
        now, patience = self._clock.now(), self.limits.patience
        asked = retry_after(reply)
        alone = replica.busy < 2
        replica.refused(now, asked and min(asked, patience))
        if asked or alone:
            self._rest(replica, f"refuses calls ({reply.status})" if alone else "")
        if not alone:
            return
        replica.refusals.add(call)
        outage = self._outage(now)
        if self.met and outage >= patience and (self.places.waiting or self._several_refused()):
            why = f"no server has taken a call for {outage:.0f} s ({refusal(replica.name, reply)})"
            raise self._hopeless(why)

    def broken_off(self, replica: Replica, before: float) -> None:
        """A server has ended an answer properly, but without its end. Raises TransientError.

        If it held other calls then, one of them was the reason: it is given fewer for good. It did
        so after `before`, when it was last heard; the other call may be over by now.
        """
        if replica.busy < 2 and replica.left < before:
            raise TransientError(f"{replica.name}: the answer ended in the middle")
        replica.holds_at_most(min(replica.most, replica.busy) // 2)
        replica.breaks = self.breaks = True
        raise TransientError(
            f"{replica.name} ended an answer in the middle when another call came; it gets "
            f"{replica.most} at once from now on ({ONE_AT_A_TIME})"
        )

    def unreachable(self, replica: Replica, error: OSError) -> None:
        """Leave the server alone for a while. Raises EngineError if there is no hope."""
        now = self._clock.now()
        if replica.failures and now < replica.paused:
            return  # an attempt begun before we knew
        why = f"{error.strerror or error or type(error).__name__}"
        replica.unreachable(now)
        self._rest(replica, f"cannot be reached ({why})")
        reachable = any(not other.failures or other.refusing for other in self._hopeful())
        waits = (self.met or self.patient) and self._outage(now) <= self.limits.patience
        if reachable or waits:
            return
        names = ", ".join(r.name for r in self.replicas)
        raise self._hopeless(
            f"no server can be reached ({replica.name}: {why}); see that one runs at {names}"
        )

    def _hopeless(self, why: str) -> EngineError:
        error = EngineError(why)
        self.dismiss(error)
        return error

    def _hopeful(self) -> Iterator[Replica]:
        return (r for r in self.replicas if r.listed and r.serves is not False)

    def _several_refused(self) -> bool:
        return len(set().union(*(replica.refusals for replica in self.replicas))) > 1

    def _outage(self, now: float) -> float:
        """Seconds for which no server has taken a call."""
        latest = float("-inf")
        for other in self._hopeful():
            if not other.failures:
                return 0.0
            latest = max(latest, other.gone)
        return now - latest if latest > float("-inf") else 0.0

    def _rest(self, replica: Replica, why: str) -> None:
        """Look at it again when its pause is over. `why` is told once where there are others."""
        if why and replica.failures == 1 and len(self.replicas) > 1:
            log.info("%s %s; its calls go elsewhere meanwhile", replica.name, why)
        self._quiet(replica)
        delay = replica.paused - self._clock.now()
        replica.alarm = self._clock.call_later(max(0.0, delay), partial(self._rested, replica))
        self.moved(replica)

    def _rested(self, replica: Replica) -> None:
        replica.alarm = None
        if replica.listed:
            self.moved(replica)

    def _quiet(self, replica: Replica) -> None:
        if replica.alarm is not None:
            replica.alarm.cancel()
            replica.alarm = None
