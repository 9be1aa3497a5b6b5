# SPDX-License-Identifier: Apache-2.0
"""HareDo against other AMQP libraries, on one RabbitMQ, in pairs: ours, theirs, ours, theirs.

Installs what is missing (Debian packages), builds HareDo and the other programs, starts a RabbitMQ of its own and
stops it at the end. Prints a table, and keeps the single results in Benchmarks/results.
"""
import argparse
import contextlib
import datetime
import json
import os
import platform
import shlex
import signal
import sys

import broker
import children
import figures
import programs
import report
import selfcheck
from workloads import CPU, MEASURE, OURS, RATE, WORKLOADS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
QUICK_PAIRS = 3


def arguments():
    names = [peer.name for peer in programs.PEERS]
    parser = argparse.ArgumentParser(
        prog="Benchmarks/compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, metavar="N", help="how often each is run (5; with --quick 3)")
    parser.add_argument(
        "--quick", action="store_true",
        help=f"a few minutes: half of the messages, and one pair for all but {MEASURE}")
    parser.add_argument(
        "--against", action="append", choices=names, metavar="LIBRARY",
        help=f"only these ({', '.join(names)}); may be given several times")
    parser.add_argument("--broker", metavar="URL", help="a RabbitMQ that runs already: amqp://user:password@host:port")
    parser.add_argument("--haredo", metavar="FILE", help="the tool, if it need not be built")
    parser.add_argument("--keep", metavar="FILE", help="where the single results go, one JSON object per line")
    parser.add_argument("--report", metavar="FILE", help="writes the table as Markdown, with how it was measured")
    parser.add_argument("--from", dest="source", metavar="FILE", help="measures nothing: takes the results from FILE")
    parser.add_argument("--self-check", action="store_true", help="tests the arithmetic of this program, nothing else")
    options = parser.parse_args()
    if options.pairs is None:
        options.pairs = QUICK_PAIRS if options.quick else 5
    if options.pairs < 1:
        parser.error("--pairs is at least 1")
    return options


def say(text):
    print(text, file=sys.stderr, flush=True)


def prepare(options):
    """Installs and builds; returns our program and the others."""
    ours = programs.HareDo(ROOT, options.haredo)
    peers = [peer(ROOT) for peer in programs.PEERS if not options.against or peer.name in options.against]
    packages = [package for peer in peers for package in peer.packages]
    if options.broker is None:
        packages.append("rabbitmq-server")
    children.run([os.path.join(ROOT, "Scripts", "install-packages.sh"), *packages], 1800, shows_output=True)
    for program in (*peers, ours):
        say(f"building {program.name}")
        program.build()
    return ours, peers


def first_line(path, prefix, otherwise):
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith(prefix):
                return line[len(prefix):].strip(" \t:=\"\n")
    return otherwise


def describe(options, ours, peers, url):
    versions = dict(ours.versions())
    for peer in peers:
        versions.update(peer.versions())
    now = datetime.datetime.now(datetime.timezone.utc)
    command = shlex.join(["Benchmarks/compare", *sys.argv[1:]])
    if options.broker:
        command = command.replace(options.broker, broker.without_credentials(options.broker))
    return {
        "date": now.strftime("%Y-%m-%d %H:%M UTC"), "command": command, "pairs": options.pairs,
        "quick": options.quick, "broker": broker.version(url), "versions": versions,
        "cpu": first_line("/proc/cpuinfo", "model name", platform.machine()), "cores": os.cpu_count(),
        "os": first_line("/etc/os-release", "PRETTY_NAME", platform.system()), "kernel": platform.release(),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def plan(options, peers):
    """(round, workload, executor, library) of every pair, in the order in which they are run."""
    for pair in range(1, options.pairs + 1):
        for workload in WORKLOADS:
            for peer in peers:
                is_brief = options.quick and peer.name != MEASURE
                if is_brief and pair > 1:
                    continue
                for executor in workload.executors[:1] if is_brief else workload.executors:
                    yield pair, workload, executor, peer


def measure(options, ours, peers, url, keep):
    lines = []
    everything = list(plan(options, peers))
    for index, (pair, workload, executor, peer) in enumerate(everything, 1):
        results = {}
        for side in ("ours", "theirs"):
            program = ours if side == "ours" else peer
            count = workload.count(OURS if side == "ours" else peer.name, options.quick)
            result = (ours.measure_on(executor, workload, count, url) if side == "ours"
                      else peer.measure(workload, count, url))
            results[side] = result
            lines.append({"workload": workload.name, "executor": executor, "library": peer.name, "pair": pair,
                          "side": side, "result": result})
            keep(lines[-1])
        figures_of_both = ", ".join(
            f"{figures.number(results['ours'][figure], figure)} : {figures.number(results['theirs'][figure], figure)}"
            for figure in (RATE, CPU))
        say(f"{index}/{len(everything)} {workload.title} on {executor} : {peer.name}: {figures_of_both}")
    return lines


def compare(options):
    ours, peers = prepare(options)
    path = options.keep or os.path.join(
        ROOT, "Benchmarks", "results", datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S.jsonl"))
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "w", encoding="utf-8"))

        def keep(line):
            print(json.dumps(line, ensure_ascii=False), file=file, flush=True)

        if options.broker is None:
            say("starting RabbitMQ")
        url = options.broker or stack.enter_context(broker.of_our_own(ROOT))
        setup = describe(options, ours, peers, url)
        keep(setup)
        lines = measure(options, ours, peers, url, keep)
    say(f"the single results are in {os.path.relpath(path)}")
    return setup, lines


def kept(path):
    """What an earlier run kept: the setup, then the lines."""
    try:
        with open(path, encoding="utf-8") as file:
            setup, *lines = [json.loads(line) for line in file]
        return setup, lines
    except (OSError, ValueError) as error:
        raise children.Failure(f"{path}: {error}") from None


def stop(number, _):
    signal.signal(number, signal.SIG_IGN)  # once is enough: what follows cleans up
    sys.exit(128 + number)


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    options = arguments()
    if options.self_check:
        sys.exit(selfcheck.main())
    try:
        setup, lines = kept(options.source) if options.source else compare(options)
        print("\n".join(report.setup_lines(setup)))
        print(f"\n{figures.markdown(figures.table(lines))}\n\n{report.LEGEND}")
        if options.report:
            with open(options.report, "w", encoding="utf-8") as file:
                file.write(report.markdown(setup, lines))
    except (children.Failure, OSError) as failure:
        sys.exit(f"compare: {failure}")


main()
