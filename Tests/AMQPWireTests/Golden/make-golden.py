#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the golden bytes: what implementations that are not ours make of the cases in cases.py.

    make-golden.py            writes pika.jsonl, py-amqp.jsonl and rabbitmq.jsonl beside this script
    make-golden.py FOLDER     writes them there
    make-golden.py --check    writes nothing; fails with status 69, naming them, if Debian packages are missing:
                              python3-pika, python3-amqp and rabbitmq-server (which is not started)

A line of these files is a case, with its bytes as "hex", and with "differs" where we write other bytes for the value.
"""
import json
import os
import resource
import sys

sys.dont_write_bytecode = True

import cases  # noqa: E402
import encoders  # noqa: E402


def differs(case, implementation, data):
    """Why we write the value in another way, if we do."""
    if "reserved" in case:
        return "what is reserved is skipped in reading, and written as zero"
    if case["kind"] == "body" and len(data) == 8:
        return "an empty body has no frames"
    if implementation == "py-amqp" and any(holds_int64(field) for _, field in case["value"]["headers"]):
        return "L is read as a signed number, and written as l"


def holds_int64(field):
    (kind, value), = field.items()
    if kind == "table":
        return any(holds_int64(inner) for _, inner in value)
    return any(map(holds_int64, value)) if kind == "array" else kind == "int64"


def attempt(encoder, case):
    try:
        return encoder.encode(case)
    except encoders.Unsupported:
        return None


def main(arguments):
    if len(arguments) > 1 or arguments[:1] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    folder = arguments[0] if arguments else encoders.HERE
    made = encoders.Pika(), encoders.PyAMQP(), encoders.RabbitMQ()
    missing = [package for package in (encoder.missing() for encoder in made) if package]
    if missing:
        print("make-golden: missing Debian packages: " + " ".join(missing), file=sys.stderr)
        sys.exit(69)
    if folder == "--check":
        return
    # Erlang's helpers walk all possible descriptors, and some systems allow a billion.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192 if hard == resource.RLIM_INFINITY else min(8192, hard), hard))

    every = list(cases.cases())
    names = [case["name"] for case in every]
    if len(set(names)) < len(names):
        sys.exit("names that repeat: %s" % sorted(name for name in set(names) if names.count(name) > 1))
    written = {}
    for encoder in made:
        if hasattr(encoder, "encode_all"):
            written[encoder.name] = encoder.encode_all(every)
        else:
            written[encoder.name] = [attempt(encoder, case) for case in every]
    for index, name in enumerate(names):
        if all(data[index] is None for data in written.values()):
            sys.exit("nothing writes the case: " + name)
    for name, data in written.items():
        with open(os.path.join(folder, name + ".jsonl"), "w", encoding="utf-8", newline="\n") as file:
            for case, octets in zip(every, data):
                if octets is None:
                    continue
                line = dict(case, hex=cases.hexadecimal(octets))
                reason = differs(case, name, octets)
                if reason:
                    line["differs"] = reason
                file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


main(sys.argv[1:])
