"""Who has templates in a node's memory, by number and by name."""

from __future__ import annotations

from recognizer.galleries.postgres.owners import Owners


def test_numbers_and_names_lead_to_each_other():
    owners = Owners({1: (0, "Ada"), 2: (7, "Ada")})
    assert (owners.get(1), owners.number((7, "Ada")), owners.number((0, "Bob"))) == ((0, "Ada"), 2, None)
    assert 1 in owners and 3 not in owners and sorted(owners) == [1, 2] and len(owners) == 2
    owners.set(1, (0, "Eve"))
    assert owners.number((0, "Ada")) is None and owners.number((0, "Eve")) == 1
    assert owners.pop(1) == (0, "Eve") and owners.pop(1) is None and owners.number((0, "Eve")) is None


def test_a_name_that_two_have_for_a_moment_leads_to_the_later_one():
    owners = Owners({1: (0, "Ada"), 2: (0, "Bob")})
    owners.set(2, (0, "Ada"))  # the first one got another name, which is not read yet
    assert owners.number((0, "Ada")) == 2 and owners.get(1) == (0, "Ada")
    owners.set(1, (0, "Bob"))
    assert owners.number((0, "Ada")) == 2 and owners.number((0, "Bob")) == 1
