"""Makes slots of ``devices=``: what the user named is looked up on this machine, by NVML and ``/sys``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.device.cores import physical_cores, ranges, usable_cores
from bench.device.slots.cards import Card, NoCardsError, cards
from bench.device.slots.shares import shares
from bench.device.slots.slot import Slot
from bench.errors import UserError

_SPELLINGS = "must be all, GPUs as cuda:0,cuda:2, or sets of cores as cpu:0-7,cpu:8-15"
_CORES = re.compile(r"cpu:(\d+(?:-\d+)?(?:\+\d+(?:-\d+)?)*)")


def find_slots(devices: Sequence[str] | None) -> list[Slot]:
    """Give the slots that ``devices=`` names, in its order; none where it is null.

    All are alike: of one kind of GPU and with as many cores, so that it decides no figure which of them a row ran on.

    Raises:
        UserError: a GPU or a core does not exist, two slots share one, or they are not alike.
    """
    if devices is None:
        return []
    named = [name.strip() for name in devices]
    given = f"devices={','.join(named)}"
    if not named:
        raise UserError(f"devices=[]: is empty; {_SPELLINGS}")
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise UserError(f"{given}: {twice} stands twice; a slot runs one worker at a time")
    if all(_CORES.fullmatch(name) for name in named):
        slots = _core_sets(named, given)
    elif named == ["all"] or all(re.fullmatch(r"cuda:\d+|(GPU|MIG)-[\w-]+", name) for name in named):
        slots = _gpus(named, given)
    else:
        raise UserError(f"{given}: {_why_unreadable(named)}")
    _refuse_unlike(slots, given)
    return slots


def _why_unreadable(named: Sequence[str]) -> str:
    wrong = [name for name in named if not re.fullmatch(rf"all|cuda:\d+|(GPU|MIG)-[\w-]+|{_CORES.pattern}", name)]
    if wrong:
        return f"{wrong[0] or 'an empty entry'}: {_SPELLINGS}"
    if "all" in named:
        return "all is every GPU; give nothing beside it"
    return "GPUs and sets of cores in one command; rows of both are never compared, so give each a command of its own"


def _core_sets(named: Sequence[str], given: str) -> list[Slot]:
    usable = usable_cores()
    if usable is None:
        raise UserError(f"{given}: this system cannot keep a process on cores; leave devices out")
    slots: list[Slot] = []
    for name in named:
        cores = _numbers(name.removeprefix("cpu:"), f"{given}: {name}", max(usable))
        absent = [core for core in cores if core not in usable]
        if absent:
            raise UserError(
                f"{given}: core {absent[0]} of {name} does not exist, or this process may not use it; it may use "
                f"{ranges(usable)}"
            )
        for other in slots:
            if shared := sorted(set(cores) & set(other.cores)):
                raise UserError(f"{given}: core {shared[0]} stands in {other.name} and in {name}; give it to one slot")
        slots.append(Slot(name, "cpu", tuple(cores)))
    _refuse_one_core_for_two(slots, usable, given)
    return slots


def _refuse_one_core_for_two(slots: Sequence[Slot], usable: Sequence[int], given: str) -> None:
    for threads in physical_cores(usable):
        owners = [slot.name for slot in slots if not set(threads).isdisjoint(slot.cores)]
        if len(owners) > 1:
            raise UserError(
                f"{given}: cores {ranges(threads)} are threads of one physical core, and {owners[0]} and {owners[1]} "
                f"have some of them each; give them to one slot"
            )


def _numbers(text: str, where: str, largest: int) -> list[int]:
    """Give the numbers of ``0-3+8``; a set that reaches far beyond the largest core is cut behind the first absent."""
    numbers: set[int] = set()
    for part in text.split("+"):
        first, _, last = part.partition("-")
        begin, end = int(first), int(last or first)
        if end < begin:
            raise UserError(f"{where}: {part} is no range; give the smaller number first")
        numbers.update(range(begin, min(end, max(begin, largest + 1)) + 1))
    return sorted(numbers)


def _gpus(named: Sequence[str], given: str) -> list[Slot]:
    try:
        found = cards()
    except NoCardsError as error:
        raise UserError(f"{given}: {error}") from error
    visible = sorted((card for card in found if card.number is not None), key=lambda card: card.number or 0)
    if not visible:
        raise UserError(f"{given}: this machine has no GPU that CUDA may use; give sets of cores, as cpu:0-3,cpu:4-7")
    chosen = visible if named == ["all"] else [_named(name, visible, given) for name in named]
    if twice := next((card for card in chosen if chosen.count(card) > 1), None):
        raise UserError(f"{given}: two of these are the GPU {twice.uuid}; a slot runs one worker at a time")
    # By all GPUs that are there, and not by those that are named: the same GPU has the same cores in every command.
    cores = shares([card.node for card in found], usable_cores())
    of_card = dict(zip((card.uuid for card in found), cores, strict=True))
    return [Slot(f"cuda:{card.number}", "cuda", of_card[card.uuid], card.uuid, card.name) for card in chosen]


def _named(name: str, visible: Sequence[Card], given: str) -> Card:
    for card in visible:
        if name in (f"cuda:{card.number}", card.uuid):
            return card
    there = ranges([card.number for card in visible if card.number is not None])
    raise UserError(f"{given}: {name}: no such GPU; cuda:N is there for N in {there}, as nvidia-smi numbers them")


def _refuse_unlike(slots: Sequence[Slot], given: str) -> None:
    """Refuse slots on which the same row would be another one: its memory and its time depend on GPU and cores, and a
    result is measured anew where these have changed."""
    first = slots[0]
    for other in slots[1:]:
        if other.card != first.card:
            raise UserError(
                f"{given}: {first.name} is a {first.card} and {other.name} a {other.card}, whose figures are not "
                f"compared; give GPUs of one kind, and the others in a command of their own with another out="
            )
        sizes = [(len(slot.cores), len(physical_cores(slot.cores))) for slot in (first, other)]
        if sizes[0] != sizes[1]:
            told = " and ".join(
                f"{slot.name} has {threads} ({physical} physical)"
                for slot, (threads, physical) in zip((first, other), sizes, strict=True)
            )
            raise UserError(f"{given}: slots need equally many cores, or their rows are not comparable: {told}")
