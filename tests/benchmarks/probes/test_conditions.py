import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from doubles.benchmarks import STATE

from leansight.benchmarks.probes.conditions import (
    facts_from,
    read_facts,
    read_state,
    throttling,
)


def test_the_facts_of_this_machine_survive_a_way_as_json() -> None:
    facts = read_facts()
    assert facts_from(json.loads(json.dumps(facts.to_dict()))) == facts
    assert facts.name.endswith(f"{os.cpu_count()} cores")
    assert re.match(r"\d+\.\d+", facts.versions["numpy"])
    assert 0 < facts.timer_ns < 100_000


def test_the_state_is_what_the_kernel_says(tmp_path: Path) -> None:
    for name, text in {
        "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000\n",
        "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1800000\n",
        "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
        "devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4\n",
        "class/thermal/thermal_zone0/temp": "61000\n",
        "devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    state = read_state(tmp_path)
    assert (state.clock_mhz, state.temperature_c) == (1800.0, 61.0)
    assert (state.throttle_count, state.throttled_bits) == (7, 0x50005)
    assert state.load_average is not None


def test_a_machine_that_tells_nothing_is_not_throttled(tmp_path: Path) -> None:
    state = read_state(tmp_path)
    assert (state.clock_mhz, state.temperature_c) == (None, None)
    assert throttling([state, state]) == ""


@pytest.mark.parametrize(
    ("bits", "counts", "said"),
    [
        ((0, 0b1, 0), (0, 0, 0), r"throttled, or its voltage too low, at noon$"),
        ((0, 0, 0x40000), (0, 0, 0), r"between two measurements$"),
        ((0x40000, 0x40000, 0x40000), (0, 0, 0), r"^$"),  # long before
        ((0, 0, 0), (5, 5, 7), r"^the processor throttled 2 times$"),
        ((0, 0, 0), (5, 5, 5), r"^$"),
    ],
)
def test_throttling_is_told_by_the_firmware_or_the_processor(
    bits: tuple[int, ...], counts: tuple[int, ...], said: str
) -> None:
    states = [
        replace(STATE, time="noon", throttled_bits=b, throttle_count=c)
        for b, c in zip(bits, counts, strict=True)
    ]
    assert re.search(said, throttling(states))
