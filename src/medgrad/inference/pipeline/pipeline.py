"""From many inputs to their answers: the next is read and the last is written while the network is at work on one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...data import Boxes, Case, Image, LabelMap
from ...data.cohorts import Cohort, Entry
from ...data.dicom.write.equipment import Algorithm
from ...data.formats import ImageSpec, extent_of
from ...errors import MedgradError, SettingError
from ...machine.allocator import return_memory
from ..input_check import Takes, check_case, check_header
from .inputs import inputs_of
from .memory_estimate import MemoryCost, room_for_sums
from .memory_limit import resident_bytes
from .output_check import check_writable
from .overlay import write_overlay
from .write import write_answer
from .write_dicom import SHOWN, told


@dataclass(frozen=True)
class Prediction:
    """One input, where its answer was written, and what to tell; ``failed`` says why there is none."""

    source: str
    written: tuple[Path, ...] = ()
    said: Any = None
    failed: str = ""
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Predictor:
    """Answering about a case in three parts, which go on side by side for three cases.

    ``ready`` takes the case out of a list, so that nobody else holds it, and gives what is shown and what it takes to
    come back. ``say`` is given what is shown and how many bytes the sums over windows may take (0: no bound). ``back``
    brings what was said to where the case came from. ``taken`` tells what that takes of memory; without it no bound can
    be kept.
    """

    ready: Callable[[list[Case]], tuple[Any, Any]]
    say: Callable[[Any, int], Any]
    back: Callable[[Any, Any], Any]
    taken: Callable[[], MemoryCost] | None = None


def whole(ask: Callable[[Case], Any]) -> Predictor:
    """Answer in one part."""
    return Predictor(lambda box: (box.pop(), None), lambda case, _: ask(case), lambda said, _: said)


@dataclass(frozen=True)
class Ready:
    """What is shown of a case, in a list out of which it is taken; what it takes to come back; the case, if needed."""

    entry: Entry
    shown: list[Any]
    rest: Any
    case: Case | None
    sums: int


@dataclass(frozen=True)
class Said:
    """What was said of a case, in a list out of which it is taken."""

    entry: Entry
    said: list[Any]
    rest: Any
    case: Case | None


def answered(
    asking: Predictor,
    path: Path,
    out: Path,
    *,
    task: str,
    channels: Sequence[str],
    dims: int,
    kind: str = "",
    maker: Algorithm | None = None,
    ram: int = 0,
    takes: Takes | None = None,
) -> Iterator[Prediction]:
    """Ask about every input, write each answer, and yield what happened; one bad file does not stop the others.

    The next input is read, and the last answer written, meanwhile. With a bound on memory, ``ram`` bytes, one follows
    the other, and what would not keep it is refused, before it is read where its header tells enough. So is an input
    of another kind than whoever answers ``takes``.
    """
    if ram and asking.taken is None:
        raise SettingError("--ram cannot be kept for this kind of answer. Leave --ram or --format out.")
    entries = inputs_of(path, tuple(channels))
    cohort = Cohort(path, "inputs", task, tuple(entries), dims=dims)
    taken = cache(asking.taken) if asking.taken else None

    def fetch(entry: Entry) -> Ready:
        sums, box = 0, []
        if takes:
            check_header(takes, entry)
        check_writable(kind, task, next(iter(entry.images.values())))
        if ram and taken:
            known, pictures = taken(), [extent_of(s) for s in entry.images.values()]
            seen = [p for p in pictures if p is not None]
            if len(seen) == len(pictures):
                sums = room_for_sums(seen, known, ram, now=resident_bytes())
            box.append(cohort.load(entry))
            if len(seen) < len(pictures):
                seen = [ImageSpec(i.grid, i.channels, i.array.itemsize) for i in box[0].images.values()]
                sums = room_for_sums(seen, known, ram, now=resident_bytes() - sum(p.size for p in seen))
        else:
            box.append(cohort.load(entry))
        if takes:
            check_case(takes, box[0], entry)
        is_needed = task == "detection" or (kind in SHOWN and not ram)  # boxes are drawn upon it
        case = box[0] if is_needed else None
        shown, rest = asking.ready(box)
        return Ready(entry, [shown], rest, case, sums)

    def say(ready: Ready) -> Said:
        said = asking.say(ready.shown.pop(), ready.sums)
        return Said(ready.entry, [said], ready.rest, ready.case)

    def finish(heard: Said) -> Prediction:
        if ram:
            resident_bytes()
        entry, said = heard.entry, asking.back(heard.said.pop(), heard.rest)
        source = next(iter(entry.images.values()))
        image = next(iter(heard.case.images.values())) if heard.case is not None and dims == 3 else None
        written = write_answer(said, entry, source, out, kind, maker=maker, image=image)
        if isinstance(said, Boxes) and not kind and heard.case is not None:
            written.append(write_overlay(out / f"{entry.id}.png", heard.case, said))
        notes = told(written, said) if isinstance(said, (LabelMap, Image)) else ()
        return Prediction(str(source), tuple(written), said, told=notes)

    steps = [kept(fetch), kept(say), kept(finish)]
    return one_by_one(entries, *steps) if ram else side_by_side(entries, *steps)


def kept(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Give a step that tells why it failed, and hands on what failed before."""

    def done(thing: Any) -> Any:
        if isinstance(thing, Prediction):
            return thing
        entry = thing if isinstance(thing, Entry) else thing.entry
        try:
            return step(thing)
        except (MedgradError, ValueError, OSError, MemoryError) as reason:
            why = " ".join(str(reason).split()) or type(reason).__name__
            return Prediction(str(next(iter(entry.images.values()))), failed=why)

    return done


Step = Callable[[Any], Any]


def one_by_one(entries: Sequence[Entry], fetch: Step, say: Step, finish: Step) -> Iterator[Prediction]:
    """Answer about one input after another, and keep nothing that is large between one and the next."""
    for entry in entries:
        with return_memory():
            done = finish(say(fetch(entry)))
        yield done


def side_by_side(entries: Sequence[Entry], fetch: Step, say: Step, finish: Step) -> Iterator[Prediction]:
    """Read the next input and write the last answer while the network is at work; what comes out keeps its order."""
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        coming: Future[Any] | None = reader.submit(fetch, entries[0])
        going: Future[Any] | None = None
        for following in [*entries[1:], None]:
            assert coming is not None
            ready = coming.result()
            coming = reader.submit(fetch, following) if following is not None else None
            said = say(ready)
            del ready
            last = going.result() if going is not None else None
            going = writer.submit(finish, said)
            del said
            if last is not None:
                yield last
        if going is not None:
            yield going.result()
