"""The prediction pipeline: the next input is read and the last answer written while the network computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from ...answers import Destination, kind_named, kind_of
from ...data import Case
from ...data.cohorts import Cohort, Entry
from ...data.dicom.write.equipment import Algorithm
from ...data.formats import ImageSpec, cache_case_files, extent_of
from ...errors import MedgradError, SettingError
from ...machine.allocator import return_large_arrays
from ...prepare import Memo, prepare
from ..input_check import InputSpec, check_case, check_header
from ..predictor import Predictor
from ..sliding_window import without_truth
from .inputs import find_inputs
from .memory_cost import memory_cost
from .memory_estimate import bytes_for_sums
from .memory_limit import prepare_freeing_memory, resident_bytes


@dataclass(frozen=True)
class Prediction:
    """The result of one input: the written files, the answer and messages, or the reason for a failure."""

    source: str
    written_files: tuple[Path, ...] = ()
    answer: Any = None
    failure_reason: str = ""
    messages: tuple[str, ...] = ()
    case_id: str = ""


@dataclass(frozen=True)
class PreparedInput:
    """A prepared case in a list out of which it is taken, the memos that undo it, and the case itself if needed."""

    entry: Entry
    prepared: list[Case]
    memos: Sequence[Memo]
    case: Case | None
    sums: int


@dataclass(frozen=True)
class RawAnswer:
    """An answer on the prepared grid, in a list out of which it is taken."""

    entry: Entry
    answer: list[Any]
    memos: Sequence[Memo]
    case: Case | None


def predict_all(
    predictor: Predictor,
    path: Path,
    out: Path | None,
    *,
    task: str,
    dims: int,
    file_format: str = "",
    algorithm: Algorithm | None = None,
    memory: int = 0,
    takes: InputSpec | None = None,
) -> Iterator[Prediction]:
    """Answer about every input, write each answer, and yield what happened; one bad file does not stop the others.

    Without ``out`` nothing is written.

    The next input is read, and the last answer written, meanwhile.
    With a bound on memory, ``memory`` bytes, one follows the other, and what would not keep it is refused, before it is
    read where its header tells enough. So is an input of another kind than the predictor ``takes``.
    """
    answers = kind_named(predictor.kind)
    if memory and answers.element_bytes(predictor.classes) is None:
        raise SettingError("--ram cannot be kept for this kind of answer. Leave --ram or --format out.")
    entries = find_inputs(path, predictor.images)
    cohort = Cohort(path, "inputs", task, tuple(entries), dims=dims)
    cost = cache(partial(memory_cost, predictor))

    def fetch(entry: Entry) -> PreparedInput:
        if takes:
            check_header(takes, entry)
        if out is not None:
            answers.check_format(file_format, next(iter(entry.images.values())))
        sums, box = 0, []
        if memory:
            known, specs = cost(), [extent_of(s) for s in entry.images.values()]
            seen = [s for s in specs if s is not None]
            if len(seen) == len(specs):
                sums = bytes_for_sums(seen, known, memory, resident_now=resident_bytes())
            box.append(cohort.load_case(entry))
            if len(seen) < len(specs):
                seen = [ImageSpec(i.grid, i.channels, i.array.itemsize) for i in box[0].images.values()]
                sums = bytes_for_sums(seen, known, memory, resident_now=resident_bytes() - sum(s.n_bytes for s in seen))
        else:
            box.append(cohort.load_case(entry))
        if takes:
            check_case(takes, box[0], entry)
        is_image_needed = out is not None and answers.needs_image(file_format)
        case = box[0] if is_image_needed and not (memory and dims == 3) else None
        box[0] = without_truth(box[0])
        prepared, memos = (
            prepare_freeing_memory(box, predictor.steps) if memory else prepare(box.pop(), predictor.steps)
        )
        return PreparedInput(entry, [prepared], memos, case, sums)

    def answer(ready: PreparedInput) -> RawAnswer:
        found = predictor.predict(ready.prepared.pop(), sums=ready.sums)
        return RawAnswer(ready.entry, [found], ready.memos, ready.case)

    def finish(raw: RawAnswer) -> Prediction:
        if memory:
            resident_bytes()
        entry, case = raw.entry, raw.case
        found = predictor.restore(raw.answer.pop(), raw.memos)
        source = next(iter(entry.images.values()))
        if out is None:
            return Prediction(str(source), (), found, case_id=entry.id)
        image = next(iter(case.images.values())) if case is not None and dims == 3 else None
        to = Destination(out, entry.id, source, file_format, algorithm or Algorithm(), image, case)
        with cache_case_files([]):  # the headers of a series are read once, however often an object refers to them
            written = kind_of(found).write(found, to)
        notes = kind_of(found).notes(found, written)
        return Prediction(str(source), tuple(written), found, messages=notes, case_id=entry.id)

    steps = [catch_errors(fetch), catch_errors(answer), catch_errors(finish)]
    return run_sequentially(entries, *steps) if memory else run_concurrently(entries, *steps)


def catch_errors(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap a step of the pipeline: errors become failed predictions, and failed predictions pass through."""

    def run_step(item: Any) -> Any:
        if isinstance(item, Prediction):
            return item
        entry = item if isinstance(item, Entry) else item.entry
        try:
            return step(item)
        except (MedgradError, ValueError, OSError, MemoryError) as reason:
            why = " ".join(str(reason).split()) or type(reason).__name__
            return Prediction(str(next(iter(entry.images.values()))), failure_reason=why, case_id=entry.id)

    return run_step


PipelineStep = Callable[[Any], Any]


def run_sequentially(
    entries: Sequence[Entry], load_input: PipelineStep, predict_one: PipelineStep, restore_and_write: PipelineStep
) -> Iterator[Prediction]:
    """Predict the inputs one after another, and release large memory between them."""
    for entry in entries:
        with return_large_arrays():
            done = restore_and_write(predict_one(load_input(entry)))
        yield done


def run_concurrently(
    entries: Sequence[Entry], load_input: PipelineStep, predict_one: PipelineStep, restore_and_write: PipelineStep
) -> Iterator[Prediction]:
    """Read the next input and write the last answer while the network computes; results keep their order."""
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        next_input: Future[Any] | None = reader.submit(load_input, entries[0])
        last_output: Future[Any] | None = None
        for following in [*entries[1:], None]:
            assert next_input is not None
            ready = next_input.result()
            next_input = reader.submit(load_input, following) if following is not None else None
            said = predict_one(ready)
            del ready
            last = last_output.result() if last_output is not None else None
            last_output = writer.submit(restore_and_write, said)
            del said
            if last is not None:
                yield last
        if last_output is not None:
            yield last_output.result()
