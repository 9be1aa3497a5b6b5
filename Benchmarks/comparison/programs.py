# SPDX-License-Identifier: Apache-2.0
"""The programs that are compared: how they are installed, built and run."""
import glob
import json
import os
import re
import shutil

import children
from workloads import MEASURE

BUILD_SECONDS = 3600
RUN_SECONDS = 120
KEYS = ("operation", "count", "size", "concurrency", "executor", "seconds", "rate", "cpu_us_per_message", "latency_us")


class Program:
    """Runs `PROGRAM publish|consume|rpc --count N --size BYTES [--concurrency N] --broker URL`."""

    name = ""
    packages = ()

    def build(self):
        """Leaves `self.command` behind."""
        raise NotImplementedError

    def versions(self):
        return {package: package_version(package) for package in self.packages}

    def measure(self, workload, count, broker, extra=()):
        line = children.run(
            [*self.command, *workload.arguments(count), *extra, "--broker", broker], RUN_SECONDS)
        return checked(line, workload, count, self.name)


def checked(line, workload, count, name):
    """The result, if it is one, and of what was asked for."""
    try:
        result = json.loads(line)
        missing = [key for key in KEYS if key not in result]
    except (ValueError, TypeError):
        raise children.Failure(f"{name}: not one JSON object: {line.strip()[:200]}") from None
    if missing:
        raise children.Failure(f"{name}: {', '.join(missing)} is missing in {line.strip()[:400]}")
    asked = {"operation": workload.operation, "count": count, "size": workload.size}
    if workload.concurrency is not None:
        asked["concurrency"] = workload.concurrency
    for key, value in asked.items():
        if result[key] != value:
            raise children.Failure(f"{name}: {key} is {result[key]}, and {value} was asked for")
    if not (result["seconds"] > 0 and result["rate"] > 0 and result["cpu_us_per_message"] > 0):
        raise children.Failure(f"{name}: nothing was measured: {line.strip()[:400]}")
    return result


def package_version(package):
    return children.output_or(["dpkg-query", "--show", "--showformat=${Version}", package])


class HareDo(Program):
    name = "HareDo"

    def __init__(self, root, built=None):
        self.root, self.built = root, built

    def build(self):
        if self.built is None:
            if shutil.which("swift") is None:
                raise children.Failure("there is no 'swift' in PATH: install Swift 6.2 or later (swift.org/install)")
            package, scratch = os.path.join(self.root, "Tool"), os.path.join(self.root, ".build-release")
            children.run(
                [os.path.join(self.root, "Scripts", "swift"), "build", "-c", "release", "--package-path", package,
                 "--product", "haredo"],
                BUILD_SECONDS, shows_output=True)
            self.built = os.path.join(scratch, "release", "haredo")
        self.command = [os.path.abspath(self.built), "bench"]

    def versions(self):
        commit = children.output_or(["git", "describe", "--always", "--dirty"], cwd=self.root)
        swift = children.output_or(["swift", "--version"])
        known = re.search(r"Swift version (\S+)", swift)
        return {"HareDo": commit, "Swift": known.group(1) if known else "unknown"}

    def measure_on(self, executor, workload, count, broker):
        return self.measure(workload, count, broker, ("--from", executor, "--json"))


class Peer(Program):
    def __init__(self, root):
        self.folder = os.path.join(root, "Benchmarks", "Peers", self.name)
        self.products = os.path.join(root, ".build", "peers")
        os.makedirs(self.products, exist_ok=True)


class RabbitMQC(Peer):
    name = MEASURE
    packages = ("librabbitmq-dev", "gcc", "libc6-dev")

    def build(self):
        product = os.path.join(self.products, self.name)
        sources = sorted(glob.glob(os.path.join(self.folder, "*.c")))
        children.run(
            ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", product, *sources,
             "-lrabbitmq"], BUILD_SECONDS)
        self.command = [product]


class AMQP091Go(Peer):
    name = "amqp091-go"
    packages = ("golang-github-rabbitmq-amqp091-go-dev", "golang-go")

    def build(self):
        product = os.path.join(self.products, self.name)
        # Debian's packages are sources in this GOPATH; nothing is fetched.
        environment = {
            **os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "", "CGO_ENABLED": "0",
            "GOCACHE": os.path.join(self.products, "go")}
        children.run(["/usr/bin/go", "build", "-o", product, "."], BUILD_SECONDS, cwd=self.folder, env=environment)
        self.command = [product]


class Bunny(Peer):
    name = "bunny"
    packages = ("ruby-bunny", "ruby")

    def build(self):
        self.command = ["/usr/bin/ruby", os.path.join(self.folder, "bench.rb")]


class Pika(Peer):
    name = "pika"
    packages = ("python3-pika", "python3")

    def build(self):
        self.command = ["/usr/bin/python3", "-B", os.path.join(self.folder, "bench.py")]


PEERS = (RabbitMQC, AMQP091Go, Bunny, Pika)
