"""People who are enrolled, renamed and erased at two servers of one folder, and what each of the servers must then answer."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

import requests

from .serving import Server

#: Who is enrolled under which name, with which photos; nobody without photos is.
State = tuple[str | None, frozenset[str]]
NOBODY: State = (None, frozenset())


@dataclass
class Subject:
    """One person, whom one thread changes, and what is known of the changes.

    Attributes
    ----------
    photos : dict of str to bytes
        Photos of one face by their ids: all that may be enrolled.
    possible : list of tuple
        What may be so: one state, or two after a change that was not answered.
    names : set of str
        Names that were in use since the last erasure.
    erased, just_erased : set of str
        Names that nothing may have any more: all, and those of the last erasure.
    took : list of float
        Seconds until the other server knew of a change.
    """

    label: str
    photos: dict[str, bytes]
    possible: list[State] = field(default_factory=lambda: [NOBODY])
    names: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    just_erased: set[str] = field(default_factory=set)
    took: list[float] = field(default_factory=list)
    acknowledged: int = 0
    interrupted: int = 0
    postponed: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    def shown_by(self, server: Server) -> State | None:
        """What a server says in its list, of the person, and about a photo; None where its answers are not of one state."""
        listed = server.people()
        found = sorted(name for name in self.names | self.erased if name in listed)
        replies = {name: server.get(f"/people/{name}") for name in self.names | self.just_erased}
        states = [
            (name, frozenset(photo["id"] for photo in reply.json()["photos"]))
            for name, reply in replies.items()
            if reply.status_code == 200
        ]
        states = [state for state in states if state[1]]
        if len(states) > 1:
            return None
        state = states[0] if states else NOBODY
        seen = server.names(next(iter(self.photos.values())))
        agree = [name for name in found if listed[name]["photos"]] == ([] if state[0] is None else [state[0]])
        return state if agree and seen == [state[0]] else None

    def told_by(self, server: Server) -> dict:
        """The answers that `shown_by` judges, for the message of a test that fails."""
        listed = server.people()
        return {
            "listed": {name: listed[name]["photos"] for name in self.names | self.erased if name in listed},
            "people": {name: server.get(f"/people/{name}").text[:500] for name in self.names | self.just_erased},
            "recognised": server.names(next(iter(self.photos.values()))),
        }

    def forget(self) -> None:
        """All names that were in use are erased."""
        self.erased |= self.names
        self.names, self.just_erased = set(), self.names

    def change(self, rng: random.Random, name: str) -> tuple[str, State, dict]:
        """A change that can be made now: its kind, what is so afterwards, and the request."""
        (now,) = self.possible
        old, photos = now
        left = sorted(set(self.photos) - photos)
        choice = rng.random()
        if old is None or (choice < 0.4 and left):
            photo = rng.choice(left)
            to = old or name
            query = {"subject": to, "force": "true"}
            how = {"params": query, "data": self.photos[photo], "headers": {"Content-Type": "image/jpeg"}}
            return "enrol", (to, photos | {photo}), {"method": "POST", "path": "/enroll", **how}
        if choice < 0.6 and len(photos) > 1:
            photo = rng.choice(sorted(photos))
            return "delete photo", (old, photos - {photo}), {"method": "DELETE", "path": f"/people/{old}/photos/{photo}"}
        if choice < 0.8:
            return "rename", (name, photos), {"method": "PATCH", "path": f"/people/{old}", "json": {"name": name}}
        if len(photos) == 1 and rng.random() < 0.5:
            return "delete the last photo", NOBODY, {"method": "DELETE", "path": f"/people/{old}/photos/{next(iter(photos))}"}
        return "delete person", NOBODY, {"method": "DELETE", "path": f"/people/{old}"}


def drive(subject: Subject, servers: list[Server], stop: threading.Event, rng: random.Random) -> None:
    """Change a person at one server, then ask the other about it, until told to stop or a server does not answer."""
    while not stop.is_set():
        here, other = rng.sample(servers, 2) if len(servers) > 1 else servers * 2
        name = f"{subject.label} {rng.getrandbits(64):016x}"
        kind, then, request = subject.change(rng, name)
        subject.names |= {then[0]} - {None}
        subject.possible.append(then)
        try:
            path = request.pop("path")
            reply = here.request(path=path, **request)
        except requests.RequestException:
            subject.interrupted += 1
            return
        if reply.status_code == 503:  # too much at once: nothing happened, and nothing was promised
            assert reply.headers["Retry-After"]
            subject.possible.pop()
            continue
        postponed = reply.status_code == 507 and "left" in reply.json()["error"]  # it is said so, and finished later
        assert postponed or reply.status_code in (200, 201), (kind, reply.status_code, reply.text)
        assert postponed or not any(reply.json().get("left", {}).values()), reply.text
        subject.postponed += postponed
        subject.possible = [then]
        subject.acknowledged += 1
        subject.kinds[kind] = subject.kinds.get(kind, 0) + 1
        if then == NOBODY:
            subject.forget()
        try:
            await_agreement(subject, other)
        except requests.RequestException:
            return


def await_agreement(subject: Subject, server: Server, seconds: float = 60.0) -> None:
    """Wait until a server's answers are of a state that is possible, and note how long that took."""
    begun = time.monotonic()
    while (shown := subject.shown_by(server)) not in subject.possible:
        assert time.monotonic() < begun + seconds, (
            f"{server.folder.name} shows {subject.label} as {shown}, which is none of {subject.possible}: "
            f"{subject.told_by(server)}"
        )
        time.sleep(0.02)
    subject.took.append(time.monotonic() - begun)


#: Seconds until a server knows what another one wrote: also what that one wrote last and did not acknowledge, since it was
#: killed.
KNOWN_ELSEWHERE = 2.0


def settle(subject: Subject, servers: list[Server], since: float) -> None:
    """After an interruption: all servers come to agree on one of the states that are possible, which then is the only one.

    What was interrupted at `since` (`time.monotonic`) may show only later, so a state counts from `KNOWN_ELSEWHERE` on.
    """
    if len(subject.possible) > 1:
        time.sleep(max(0.0, since + KNOWN_ELSEWHERE - time.monotonic()))
    for server in servers:
        await_agreement(subject, server)
    until = time.monotonic() + 60
    while True:
        states = [subject.shown_by(server) for server in servers]
        if states[0] in subject.possible and states.count(states[0]) == len(states):
            break
        assert time.monotonic() < until, f"{subject.label} is {states}, of {subject.possible}"
        time.sleep(0.02)
    subject.possible = [states[0]]
    if states[0] == NOBODY:
        subject.forget()
