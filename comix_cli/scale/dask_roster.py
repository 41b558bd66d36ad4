"""Which workers a crew has, and which of their slots are free: plain book-keeping."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field


@dataclass(eq=False)
class Member:
    """A worker, and whether it is still there."""

    address: str
    slots: int
    there: bool = True


@dataclass(eq=False)
class Order:
    """A task on its way, who does it, since when, and whether it has been begun."""

    number: int
    key: str
    content: bytes
    member: Member
    since: float = field(default_factory=time.monotonic)
    begun: bool = False


@dataclass
class Roster:
    """The workers of a cluster, as far as they have told of themselves.

    Attributes:
        members: Those that can be used, by address.
        refused: Why others cannot, by address.
        orders: What is under way, by number.
        lost: What was under way on workers that have gone, by address.
        taken: Bytes that workers had taken which their nannies have ended for it, by address.
    """

    members: dict[str, Member] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    lost: dict[str, list[Order]] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    # A worker stands here once for each slot that is free.
    _free: deque[Member] = field(default_factory=deque)

    @property
    def size(self) -> int:
        """Tasks that can be done at once."""
        return sum(member.slots for member in self.members.values())

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self.orders and not self.lost

    def reported(self) -> set[str]:
        """Addresses of workers that have told of themselves."""
        return {*self.members, *self.refused}

    def welcome(self, address: str, slots: int) -> None:
        """A worker can be used."""
        if address not in self.members:
            member = self.members[address] = Member(address, slots)
            self._free.extend([member] * slots)

    def begin(self, number: int, key: str, content: bytes) -> Order | None:
        """Give a task to the slot that has been free for longest; None where there is none."""
        while self._free:
            member = self._free.popleft()
            if member.there:
                order = self.orders[number] = Order(number, key, content, member)
                return order
        return None

    def end(self, order: Order) -> None:
        """A task is over, and its slot free."""
        del self.orders[order.number]
        self._free.append(order.member)

    def reluctant(self, seconds: float) -> set[str]:
        """Workers that have not begun what they were given so long ago."""
        before = time.monotonic() - seconds
        orders = self.orders.values()
        return {each.member.address for each in orders if not each.begun and each.since < before}

    def lose(self, address: str) -> list[Order]:
        """A worker has gone; what was under way there is lost."""
        self.refused.pop(address, None)
        member = self.members.pop(address, None)
        if member is None:
            return []
        member.there = False
        gone = [order for order in self.orders.values() if order.member is member]
        for order in gone:
            del self.orders[order.number]
        if gone:
            self.lost.setdefault(address, []).extend(gone)
        return gone

    def unfinished(self) -> list[tuple[str, bytes]]:
        """Keys and contents of all that is under way or lost, in the order of its beginning."""
        orders = [*self.orders.values(), *(o for orders in self.lost.values() for o in orders)]
        return [(each.key, each.content) for each in sorted(orders, key=lambda each: each.number)]
