# SPDX-License-Identifier: Apache-2.0
"""What is measured, how often, and what is wanted."""
import dataclasses
from typing import Dict, List, Optional, Tuple

RATE = "rate"
CPU = "cpu_us_per_message"

OURS = "HareDo"
# The library that the targets are about. In quick runs the others get one pair.
MEASURE = "rabbitmq-c"


@dataclasses.dataclass(frozen=True)
class Target:
    limit: float
    at_least: bool = False
    # Of HareDo's own figure, and not of its ratio to rabbitmq-c's.
    is_absolute: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self):
        return ("≥ " if self.at_least else "≤ ") + f"{self.limit:g}" + (" µs" if self.is_absolute else "")


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    title: str
    operation: str
    size: int
    # Where HareDo's loops run. In quick runs only the first is set against the other libraries.
    executors: Tuple[str, ...]
    # For one to two seconds on a machine that does nothing else. By library; HareDo's is rabbitmq-c's.
    counts: Dict[str, int]
    targets: Dict[Tuple[str, str], Target]
    concurrency: Optional[int] = None

    def count(self, library: str, is_quick: bool) -> int:
        count = self.counts.get(library, self.counts[MEASURE])
        return count // 2 if is_quick else count

    def arguments(self, count: int) -> List[str]:
        arguments = [self.operation, "--count", str(count), "--size", str(self.size)]
        if self.concurrency is not None:
            arguments += ["--concurrency", str(self.concurrency)]
        return arguments


def counts(c: int, go: int, bunny: int, pika: int) -> Dict[str, int]:
    return {MEASURE: c, "amqp091-go": go, "bunny": bunny, "pika": pika}


WORKLOADS = (
    Workload(
        "publish-16", "publish, 16 B", "publish", 16, ("pool",), counts(200_000, 150_000, 40_000, 40_000),
        {("pool", RATE): Target(1.5, at_least=True), ("pool", CPU): Target(0.3)}),
    Workload(
        "publish-64k", "publish, 64 KiB", "publish", 65536, ("pool",), counts(10_000, 10_000, 3_000, 5_000),
        {("pool", CPU): Target(1.2)}),
    Workload(
        "consume-16", "consume, 16 B", "consume", 16, ("loop", "main", "pool"),
        counts(150_000, 100_000, 15_000, 40_000), {("loop", CPU): Target(1.8), ("main", CPU): Target(4)}),
    Workload(
        "rpc-1", "RPC, one after another", "rpc", 16, ("loop", "pool"), counts(4_000, 4_000, 2_000, 3_000),
        {("loop", RATE): Target(0.9, at_least=True), ("pool", RATE): Target(0.6, at_least=True)}, concurrency=1),
    Workload(
        "rpc-64", "RPC, 64 in flight", "rpc", 16, ("pool", "loop"), counts(20_000, 20_000, 4_000, 10_000),
        {(executor, CPU): Target(12, is_absolute=True) for executor in ("pool", "loop")}, concurrency=64),
)
