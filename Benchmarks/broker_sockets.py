# SPDX-License-Identifier: Apache-2.0
"""`haredo broker` as a process, and AMQP 0-9-1 on plain sockets: just enough of it to open connections and to publish."""
import argparse
import os
import socket
import struct
import subprocess

HEADER = b"AMQP\0\0\x09\x01"


def short(text):
    return struct.pack("B", len(text)) + text


def frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(channel, class_id, method_id, arguments=b""):
    return frame(1, channel, struct.pack(">HH", class_id, method_id) + arguments)


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.input = self.socket.makefile("rb")
        self.socket.sendall(HEADER)
        self.expect(10, 10)
        response = b"\0guest\0guest"
        self.socket.sendall(method(0, 10, 11, struct.pack(">I", 0) + short(b"PLAIN")
                                   + struct.pack(">I", len(response)) + response + short(b"en_US")))
        tune = self.expect(10, 30)
        channels, size, _ = struct.unpack(">HIH", tune[4:12])
        self.socket.sendall(method(0, 10, 31, struct.pack(">HIH", channels, size, 0))
                            + method(0, 10, 40, short(b"/") + short(b"") + b"\0"))
        self.expect(10, 41)

    def expect(self, class_id, method_id):
        kind, _, size = struct.unpack(">BHI", self.input.read(7))
        payload = self.input.read(size)
        end = self.input.read(1)
        found = struct.unpack(">HH", payload[:4])
        assert kind == 1 and end == b"\xce" and found == (class_id, method_id), (kind, found, payload)
        return payload

    def open_channel(self):
        self.socket.sendall(method(1, 20, 10, short(b"")))
        self.expect(20, 11)

    @staticmethod
    def publish(name, body):
        """The frames of a message that is not persistent, to a queue; to be sent by the caller."""
        header = frame(2, 1, struct.pack(">HHQH", 60, 0, len(body), 0x1000) + b"\1")
        return (method(1, 60, 40, struct.pack(">H", 0) + short(b"") + short(name) + b"\0") + header
                + frame(3, 1, body))

    def declare(self, name, passive=False):
        self.socket.sendall(method(1, 50, 10, struct.pack(">H", 0) + short(name) + (b"\1" if passive else b"\0")
                                   + struct.pack(">I", 0)))
        ok = self.expect(50, 11)
        return struct.unpack(">II", ok[5 + ok[4]:])[0]


class Broker:
    """Runs for as long as a `with` statement does, on a free port."""

    def __init__(self, haredo):
        self.process = subprocess.Popen([haredo, "broker", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    @property
    def url(self):
        return f"amqp://guest:guest@127.0.0.1:{self.port}"

    def resident(self):
        """In MiB."""
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        raise RuntimeError("no VmRSS")


def parser(description):
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    result.add_argument("--haredo", default=os.path.join(root, ".build-release", "release", "haredo"))
    return result
