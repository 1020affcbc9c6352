"""What a run takes of a machine: memory over time, its share of what there is, energy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

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


@dataclass(frozen=True, kw_only=True)
class MachinePeaks:
    """What the machine did at most, in the same run and with as many `threads` as the models.

    `int8_macs_per_s`: multiply-adds of an int8 matrix product, by the format whose interpreter
    made it. `copy_bytes_per_s`: bytes read and bytes written by one thread that copies 64 MiB;
    None where it was not measured. `failure` says what could not be, "" if all could.
    """

    int8_macs_per_s: Mapping[str, float]
    copy_bytes_per_s: float | None
    threads: int
    failure: str = ""

    def int8_share(self, macs: int, ms: float) -> float | None:
        """Return which share of the fastest product a model of so many MACs in `ms` reaches."""
        if not self.int8_macs_per_s:
            return None
        return macs / (ms / 1000) / max(self.int8_macs_per_s.values())

    def bandwidth_share(self, size_bytes: int, ms: float) -> float | None:
        """Return which share of the copy it takes to read the file once in `ms`.

        That is the least: activations that leave the caches come on top.
        """
        if self.copy_bytes_per_s is None:
            return None
        return size_bytes / (ms / 1000) / self.copy_bytes_per_s


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What a frame takes, all steps of it, and what the machine takes that does nothing.

    `source` says what the meter sees. `mj_per_frame` is all that was taken while frames ran one
    after the other; `mj_above_idle` is what is left of it without `idle_w`.
    """

    source: str
    idle_w: float
    busy_w: float
    mj_per_frame: float
    mj_above_idle: float
    frames: int


def energy_of(told: Mapping[str, Any]) -> Energy:
    """Return the energy that a worker told (see `EnergyReading`)."""
    idle_w = told["idle_joules"] / told["idle_seconds"]
    above = told["joules"] - idle_w * told["seconds"]
    return Energy(
        source=told["source"],
        idle_w=round(idle_w, 4),
        busy_w=round(told["joules"] / told["seconds"], 4),
        mj_per_frame=round(1000 * told["joules"] / told["frames"], 4),
        mj_above_idle=round(1000 * above / told["frames"], 4),
        frames=told["frames"],
    )
