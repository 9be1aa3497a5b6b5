# SPDX-License-Identifier: Apache-2.0
"""The RabbitMQ of a comparison."""
import contextlib
import os
import re
import shutil
import socket
import struct
import tempfile
import urllib.parse

import children


@contextlib.contextmanager
def of_our_own(root):
    """A node of our own, on a port of its own; it is stopped on every way out, and also if we are killed."""
    script = os.path.join(root, "Scripts", "rabbitmq.sh")
    folder = tempfile.mkdtemp(prefix="haredo-compare.")
    environment = {
        **os.environ, "HAREDO_RABBITMQ_DIR": folder, "HAREDO_RABBITMQ_OWNER": str(os.getpid())}
    try:
        children.run([script, "start"], 150, env=environment)
        yield children.run([script, "url"], 10, env=environment).strip()
    finally:
        children.run([script, "stop"], 90, env=environment)  # the folder goes, too
        shutil.rmtree(folder, ignore_errors=True)  # unless it was not started


def without_credentials(url):
    """For what is written down."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def version(url):
    """What the broker says of itself in `connection.start`."""
    parts = urllib.parse.urlsplit(url)
    address = (parts.hostname or "localhost", parts.port or 5672)
    try:
        with socket.create_connection(address, timeout=10) as connection, connection.makefile("rb") as stream:
            connection.sendall(b"AMQP\0\0\x09\x01")
            header = stream.read(7)
            start = stream.read(struct.unpack(">L", header[3:7])[0]) if len(header) == 7 else b""
    except OSError as error:
        raise children.Failure(f"the broker at {address[0]}:{address[1]}: {error}") from None
    properties = {name: entry(start, name) for name in ("product", "version")}
    if None in properties.values():
        raise children.Failure("the broker does not say what it is")
    return f"{properties['product']} {properties['version']}"


def entry(table, name):
    """A string in an encoded table: the name's length, the name, S, the string's length, the string."""
    encoded = bytes([len(name)]) + name.encode() + b"S"
    match = re.search(re.escape(encoded) + b"(.{4})", table, re.DOTALL)
    if match is None:
        return None
    end = match.end() + struct.unpack(">L", match.group(1))[0]
    return table[match.end():end].decode("utf-8", "replace")
