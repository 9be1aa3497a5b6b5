# SPDX-License-Identifier: Apache-2.0
"""What is written into the documentation."""
import figures

LEGEND = """\
Rates are messages or calls per second, CPU is user and system time of the whole process per message or call: medians. Behind the
× is HareDo's figure divided by that of the library: the median of the pairs, and in brackets the smallest and the largest. For
rates more is better, for CPU less."""

TEXT = """\
# Benchmarks

HareDo against other libraries on one RabbitMQ, one after another on one machine. This page is written by `Benchmarks/compare`.

{table}

{legend}

## Where

{setup}

## How it is measured

- One program per library (`Benchmarks/Peers`, and `haredo bench` for HareDo), all with the same options and the same result. Each is
  written as its library's documentation advises for speed: frame by frame without copies in rabbitmq-c, one goroutine that calls and
  one that serves in amqp091-go, a `SelectConnection` in pika.
- They run in pairs, first HareDo, then the other, and a ratio is of one pair: what slows the machine for a while slows both. The
  programs, RabbitMQ and whatever else runs share the machine's cores, so that RabbitMQ limits most rates; CPU per message is what a
  library itself costs, and is less disturbed.
- Nothing is compared that was done for the first time: a tenth of the messages, at most 2000, goes before what is measured.
- **publish**: transient messages to the default exchange, with a routing key that no queue has, until the broker has answered a
  request behind the last of them. No confirms.
- **consume**: from an exclusive queue that was filled before, prefetch 500, one acknowledgement per 100 messages, until the broker has
  answered a request behind the last of them.
- **RPC**: caller and service in one process, on a connection each, replies by direct reply-to. The service sends back what it got and
  acknowledges each request; its prefetch is the number of calls in flight. Every reply is compared with its request. Latencies are in
  the raw lines. HareDo does here what its `call` always does (deadlines, unguessable ids, one task per call); the other programs do
  the least that works, from one thread that takes a reply and makes the next call.
- Counts of messages differ, so that the slow ones do not take minutes; all figures are per message.
- `pool`, `main` and `loop` are where HareDo's loops and handlers run: Swift's global executor, the main actor, or the event loop of the
  connection (for RPC both the caller and the service).
- RabbitMQ is started by `Scripts/rabbitmq.sh`: two schedulers without busy waiting, all else as it comes.

## Again

```console
$ Benchmarks/compare --report Docs/benchmarks.md
```

installs what is missing (Debian packages), builds everything, and takes about ten minutes once that is done; `--quick` takes a few minutes and
is good for a first look only. `Benchmarks/compare --help` tells the rest.
"""


def setup_lines(setup):
    lines = [f"- {setup['date']}: `{setup['command']}`", f"- {setup['cpu']}, {setup['cores']} cores; {setup['os']}, "
             f"Linux {setup['kernel']}; load {setup['load']} at the beginning", f"- {setup['broker']}"]
    return lines + [f"- {name} {version}" for name, version in setup["versions"].items()]


def markdown(setup, lines):
    return TEXT.format(
        table=figures.markdown(figures.table(lines)), legend=LEGEND, setup="\n".join(setup_lines(setup)))
