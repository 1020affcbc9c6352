"""What a run takes of a machine over time: memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MOST_SAMPLES: Final = 100  # of a model's memory, however long it ran


@dataclass(frozen=True, kw_only=True)
class MemorySample:
    """A process's memory so many `seconds` after its start, in bytes above an empty process.

    None where the system does not tell. `pss_bytes` shares pages among the processes that have
    them.
    """

    seconds: float
    rss_bytes: int | None
    pss_bytes: int | None


def thin(samples: Sequence[MemorySample], most: int = MOST_SAMPLES) -> tuple[MemorySample, ...]:
    """Return `most` of these at most, evenly, with the first, the last and the largest."""
    if len(samples) <= most:
        return tuple(samples)
    sizes = [sample.rss_bytes or 0 for sample in samples]
    last = len(samples) - 1
    chosen = {last * n // (most - 2) for n in range(most - 1)} | {sizes.index(max(sizes))}
    return tuple(samples[place] for place in sorted(chosen))


def samples_above(
    told: Sequence[Mapping[str, float | None]], empty_bytes: Mapping[str, int | None]
) -> tuple[MemorySample, ...]:
    """Return what a worker told of its memory, above that of an empty process; see `thin`."""

    def above(sample: Mapping[str, float | None], kind: str) -> int | None:
        size, empty = sample[kind], empty_bytes[kind]
        return None if size is None or empty is None else int(size) - empty

    return thin(
        [
            MemorySample(
                seconds=round(sample["seconds"] or 0.0, 3),
                rss_bytes=above(sample, "rss"),
                pss_bytes=above(sample, "pss"),
            )
            for sample in told
        ]
    )
