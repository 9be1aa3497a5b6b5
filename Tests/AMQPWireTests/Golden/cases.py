# SPDX-License-Identifier: Apache-2.0
"""What the golden bytes stand for, described in words of no implementation.

A case is a dictionary:
  name      for people, unique
  kind      method, properties (a property list), header, body, content (method, header and bodies), heartbeat,
            protocol-header
  value     what is to be read from the bytes
  reserved  arguments that the specification reserves, which a reader skips; with method only
  frame-max with content only

In a value, names are those of the specification. A table is a list of [name, field], a field {type: value}. Numbers with
a fraction are decimal strings. Octets are {"hex": ...} in the notation of `hexadecimal`; so is text of more than
64 bytes. A decimal is an unsigned number of 32 bits with its scale.
"""
import itertools
import struct


def hexadecimal(octets):
    """Hexadecimal digits; what repeats sixteen times and more stands as `61*65536` between blanks."""
    out, plain = [], []
    for octet, run in itertools.groupby(octets):
        count = len(list(run))
        if count < 16:
            plain.append("%02x" % octet * count)
            continue
        if plain:
            out.append("".join(plain))
            plain = []
        out.append("%02x*%d" % (octet, count))
    if plain:
        out.append("".join(plain))
    return " ".join(out)


def octets(data):
    return {"hex": hexadecimal(data)}


def text(string):
    data = string.encode()
    return string if len(data) <= 64 else octets(data)


# MARK: - Methods

# Arguments in the order of the wire; in parentheses what the specification reserves.
METHODS = """
connection.start version-major:octet version-minor:octet server-properties:table mechanisms:long-string locales:long-string
connection.start-ok client-properties:table mechanism:short-string response:long-string locale:short-string
connection.secure challenge:long-string
connection.secure-ok response:long-string
connection.tune channel-max:short frame-max:long heartbeat:short
connection.tune-ok channel-max:short frame-max:long heartbeat:short
connection.open virtual-host:short-string (capabilities:short-string) (insist:bit)
connection.open-ok (known-hosts:short-string)
connection.close reply-code:short reply-text:short-string class-id:short method-id:short
connection.close-ok
connection.blocked reason:short-string
connection.unblocked
connection.update-secret new-secret:long-string reason:short-string
connection.update-secret-ok
channel.open (out-of-band:short-string)
channel.open-ok (channel-id:long-string)
channel.flow active:bit
channel.flow-ok active:bit
channel.close reply-code:short reply-text:short-string class-id:short method-id:short
channel.close-ok
access.request realm:short-string exclusive:bit passive:bit active:bit write:bit read:bit
access.request-ok ticket:short
exchange.declare (ticket:short) exchange:short-string type:short-string passive:bit durable:bit auto-delete:bit internal:bit no-wait:bit arguments:table
exchange.declare-ok
exchange.delete (ticket:short) exchange:short-string if-unused:bit no-wait:bit
exchange.delete-ok
exchange.bind (ticket:short) destination:short-string source:short-string routing-key:short-string no-wait:bit arguments:table
exchange.bind-ok
exchange.unbind (ticket:short) destination:short-string source:short-string routing-key:short-string no-wait:bit arguments:table
exchange.unbind-ok
queue.declare (ticket:short) queue:short-string passive:bit durable:bit exclusive:bit auto-delete:bit no-wait:bit arguments:table
queue.declare-ok queue:short-string message-count:long consumer-count:long
queue.bind (ticket:short) queue:short-string exchange:short-string routing-key:short-string no-wait:bit arguments:table
queue.bind-ok
queue.purge (ticket:short) queue:short-string no-wait:bit
queue.purge-ok message-count:long
queue.delete (ticket:short) queue:short-string if-unused:bit if-empty:bit no-wait:bit
queue.delete-ok message-count:long
queue.unbind (ticket:short) queue:short-string exchange:short-string routing-key:short-string arguments:table
queue.unbind-ok
basic.qos prefetch-size:long prefetch-count:short global:bit
basic.qos-ok
basic.consume (ticket:short) queue:short-string consumer-tag:short-string no-local:bit no-ack:bit exclusive:bit no-wait:bit arguments:table
basic.consume-ok consumer-tag:short-string
basic.cancel consumer-tag:short-string no-wait:bit
basic.cancel-ok consumer-tag:short-string
basic.publish (ticket:short) exchange:short-string routing-key:short-string mandatory:bit immediate:bit
basic.return reply-code:short reply-text:short-string exchange:short-string routing-key:short-string
basic.deliver consumer-tag:short-string delivery-tag:longlong redelivered:bit exchange:short-string routing-key:short-string
basic.get (ticket:short) queue:short-string no-ack:bit
basic.get-ok delivery-tag:longlong redelivered:bit exchange:short-string routing-key:short-string message-count:long
basic.get-empty (cluster-id:short-string)
basic.ack delivery-tag:longlong multiple:bit
basic.reject delivery-tag:longlong requeue:bit
basic.recover-async requeue:bit
basic.recover requeue:bit
basic.recover-ok
basic.nack delivery-tag:longlong multiple:bit requeue:bit
confirm.select no-wait:bit
confirm.select-ok
tx.select
tx.select-ok
tx.commit
tx.commit-ok
tx.rollback
tx.rollback-ok
"""

EMPTY = {"bit": False, "octet": 0, "short": 0, "long": 0, "longlong": 0, "short-string": "", "long-string": "", "table": []}
LARGEST = {
    "bit": True, "octet": 2**8 - 1, "short": 2**16 - 1, "long": 2**32 - 1, "longlong": 2**64 - 1,
    "short-string": text("s" * 255), "long-string": text("l" * 1000),
    "table": [[text("k" * 255), {"long-string": text("v" * 300)}]],
}
# Every octet of a number is another, so that none can be left out or exchanged unseen.
NUMBERS = {"octet": 0x81, "short": 0x8192, "long": 0x8192A3B4, "longlong": 0x8192A3B4C5D6E7F8}


def distinct(name, kind, index):
    if kind == "bit":
        return True
    if kind == "table":
        return [["x-key", {"long-string": "value"}], ["on", {"boolean": True}]]
    if kind in NUMBERS:
        return NUMBERS[kind] + index * (NUMBERS[kind] >> 7) % 127
    return name + " ✓"


def method_cases():
    for line in METHODS.split("\n")[1:-1]:
        name, *fields = line.split()
        reserved = [field.strip("()").split(":") for field in fields if field.startswith("(")]
        fields = [field.split(":") for field in fields if not field.startswith("(")]

        def case(title, arguments, channel=0x0102, **more):
            value = {"channel": channel, "method": name, "arguments": arguments}
            return dict({"name": name + ", " + title, "kind": "method", "value": value}, **more)

        if not fields:
            yield case("no arguments", {})
        else:
            yield case("every argument", {f: distinct(f, kind, i) for i, (f, kind) in enumerate(fields)})
            yield case("zero and empty", {f: EMPTY[kind] for f, kind in fields}, channel=0)
        if any(kind != "bit" for _, kind in fields):
            yield case("largest", {f: LARGEST[kind] for f, kind in fields}, channel=0xFFFF)
        bits = [f for f, kind in fields if kind == "bit"]
        for bit in bits if len(bits) > 1 else []:
            yield case(bit + " alone", {f: True if f == bit else EMPTY[kind] for f, kind in fields})
        if reserved:
            yield case(
                "reserved arguments set", {f: distinct(f, kind, i) for i, (f, kind) in enumerate(fields)},
                reserved={f: distinct(f, kind, i) for i, (f, kind) in enumerate(reserved)})


def further_methods():
    """Arguments that other cases do not have."""
    for title, response in ("octets that are no text", b"\xff\x00\xc3"), ("PLAIN", b"\0guest\0guest"), ("64 KiB", b"\xff" * 65_536):
        described = octets(response) if title != "PLAIN" else response.decode()
        yield {"name": "connection.secure-ok, " + title, "kind": "method", "value": {
            "channel": 0, "method": "connection.secure-ok", "arguments": {"response": described}}}
    yield {"name": "connection.start-ok, table of every type", "kind": "method", "value": {
        "channel": 0, "method": "connection.start-ok", "arguments": {
            "client-properties": [[kind, field] for field in ALL_FIELDS for kind in field], "mechanism": "PLAIN",
            "response": "\0a\0b", "locale": "en_US"}}}


# MARK: - Fields of tables


def decimal(scale, value):
    return {"decimal": {"scale": scale, "value": value}}


def long_strings():
    for string in "", "a", "text", "é✓🐇", "a\0b", "b" * 64, "c" * 65, "d" * 65_535, "e" * 65_536:
        yield {"long-string": text(string)}
    for data in b"\xff\x00\xc3", b"\xc3", b"\xed\xa0\x80", bytes(range(256)), b"\xff" * 65_536:
        yield {"long-string": octets(data)}


def integers():
    for bits in 8, 16, 32, 64:
        for number in -(2 ** (bits - 1)), -2, -1, 0, 1, 2 ** (bits - 1) - 1:
            yield {"int%d" % bits: number}
        for number in (0, 1, 2 ** (bits - 1), 2**bits - 2, 2**bits - 1) if bits < 64 else ():
            yield {"uint%d" % bits: number}


def fractions():
    for number in "0.0", "-0.0", "1.5", "-2.5":
        yield {"float": number}
        yield {"double": number}
    # Largest, smallest normal and smallest of all; infinities as doubles only, because no encoder here writes others.
    for bits in 0x7F7FFFFF, 0xFF7FFFFF, 0x00800000, 0x00000001, 0x80000001:
        yield {"float": repr(struct.unpack(">f", struct.pack(">I", bits))[0])}
    for bits in 0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF, 0x0010000000000000, 0x1, 0x8000000000000001, 0x7FF << 52, 0xFFF << 52:
        yield {"double": repr(struct.unpack(">d", struct.pack(">Q", bits))[0])}
    yield {"double": "3.141592653589793"}
    yield {"double": "nan"}


ALL_FIELDS = [
    {"boolean": True}, {"int8": -2}, {"uint8": 254}, {"int16": -2}, {"uint16": 65_534}, {"int32": -2},
    {"uint32": 4_294_967_294}, {"int64": -2}, {"float": "1.5"}, {"double": "-2.5"}, decimal(2, 31_415),
    {"long-string": "text"}, {"byte-array": octets(b"\0\xff")}, {"array": [{"int32": 1}, {"boolean": False}]},
    {"timestamp": 1_700_000_000}, {"table": [["n", {"void": None}]]}, {"void": None},
]


def nested(kind, levels):
    """So many tables or arrays inside one another, the innermost empty."""
    value = {kind: []}
    for _ in range(levels - 1):
        value = {kind: [["", value] if kind == "table" else value]}
    return value


def fields():
    yield {"boolean": True}
    yield {"boolean": False}
    yield from integers()
    yield from fractions()
    for value in 0, 1, 31_415, 2**31 - 1, 2**31, 2**32 - 314, 2**32 - 1:
        yield decimal(0, value)
        yield decimal(3, value)
    yield from long_strings()
    for data in b"", b"a", b"\0\xff", bytes(range(256)), b"\x5a" * 65_536:
        yield {"byte-array": octets(data)}
    for seconds in 0, 1, 1_700_000_000, 2**32, 253_402_300_799, 2**63 - 1, 2**63, 2**64 - 1:
        yield {"timestamp": seconds}
    yield {"void": None}
    for kind in "array", "table":
        for levels in 1, 2, 3, 63:
            yield nested(kind, levels)
    yield {"array": [{"array": []}, {"void": None}, {"table": []}, {"array": [{"void": None}]}]}
    yield {"array": [{"int32": number} for number in range(300)]}
    yield {"array": [field for field in ALL_FIELDS if not {"int8", "float"} & set(field)]}
    yield {"array": ALL_FIELDS}


def tables():
    """Names with the whole table."""
    seen = {}
    for field in fields():
        (kind, value), = field.items()
        seen[kind] = seen.get(kind, 0) + 1
        shown = str(value) if isinstance(value, (int, str)) and len(str(value)) < 30 else "number %d" % seen[kind]
        yield kind + " " + (shown or "empty"), [["k", field]]
    yield "decimals of every scale", [[str(scale), decimal(scale, 31_415)] for scale in range(256)]
    yield "names of every kind", [
        ["", {"void": None}], ["✓", {"boolean": True}], ["a b.c-d", {"int32": 1}], [text("k" * 255), {"int32": 2}],
    ]
    yield "names that repeat", [["b", {"int64": 1}], ["a", {"int64": 2}], ["b", {"boolean": True}]]
    yield "out of order", [[name, {"int32": index}] for index, name in enumerate("zyxabc")]
    yield "every type", [[kind, field] for field in ALL_FIELDS for kind in field]
    yield "x-death as RabbitMQ writes it", [["x-death", {"array": [{"table": [
        ["count", {"int64": 1}], ["reason", {"long-string": "expired"}], ["queue", {"long-string": "q"}],
        ["time", {"timestamp": 1_700_000_000}], ["exchange", {"long-string": ""}],
        ["routing-keys", {"array": [{"long-string": "q"}]}]]}]}]]


# MARK: - Properties

PROPERTIES = {
    "content-type": "ct", "content-encoding": "ce", "headers": [["h", {"void": None}]], "delivery-mode": 2,
    "priority": 9, "correlation-id": "ci", "reply-to": "rt", "expiration": "60", "message-id": "mi",
    "timestamp": 0x0102030405060708, "type": "ty", "user-id": "ui", "app-id": "ai", "cluster-id": "cl",
}


def property_lists():
    yield "no properties", {}
    yield "all properties", PROPERTIES
    for count in 1, 2, 12, 13:
        for names in itertools.combinations(PROPERTIES, count):
            without = [name for name in PROPERTIES if name not in names]
            title = " and ".join(names) if count < 3 else "all but " + " and ".join(without)
            yield title, {name: PROPERTIES[name] for name in names}
    for name, value in PROPERTIES.items():
        if isinstance(value, str):
            for string in "", "x", "é✓🐇", "y" * 64, "z" * 65, "s" * 255:
                yield "%s of %d bytes" % (name, len(string.encode())), {name: text(string)}
    for name in "delivery-mode", "priority":
        for number in 0, 1, 127, 128, 255:
            yield "%s %d" % (name, number), {name: number}
    for seconds in 0, 1, 2**32, 2**63, 2**64 - 1:
        yield "timestamp property %d" % seconds, {"timestamp": seconds}
    yield "all properties, empty", {
        name: [] if name == "headers" else "" if isinstance(value, str) else 0 for name, value in PROPERTIES.items()}
    yield "headers empty", {"headers": []}
    for title, table in tables():
        yield "table: " + title, {"headers": table}


# MARK: - Frames


def frames():
    yield {"name": "protocol header", "kind": "protocol-header", "value": {"version": "0-9-1"}}
    yield {"name": "heartbeat", "kind": "heartbeat", "value": {}}
    for size in 0, 1, 4096, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1:
        for title, properties in ("no properties", {}), ("all properties", PROPERTIES):
            value = {"channel": 1 + size % 0xFFFF, "class-id": 60, "body-size": size, "properties": properties}
            yield {"name": "header, body size %d, %s" % (size, title), "kind": "header", "value": value}
    for data in b"", b"\xce", bytes(range(256)), b"b" * 4095, b"b" * 4096, b"b" * 131_064:
        value = {"channel": 0xFEDC, "body": octets(data)}
        yield {"name": "body of %d bytes" % len(data), "kind": "body", "value": value}
    every = bytes(range(256)) * 4
    contents = [
        ("empty", b"", 256), ("one byte", b"\xce", 256), ("one frame, full", every[:248], 256),
        ("one byte more than a frame", every[:249], 256), ("two frames, full", every[:496], 256),
        ("three frames", every[:600], 256), ("small, in a large frame", b"hi", 131_072),
        ("frames of 4 KiB", b"b" * 9000, 4096), ("frames of 8 KiB", b"b" * 20_000, 8192),
    ]
    methods = {
        "basic.publish": {"exchange": "ex", "routing-key": "a.b", "mandatory": True, "immediate": False},
        "basic.return": {"reply-code": 312, "reply-text": "NO_ROUTE", "exchange": "ex", "routing-key": "a.b"},
        "basic.deliver": {
            "consumer-tag": "ct", "delivery-tag": 7, "redelivered": True, "exchange": "ex", "routing-key": "a.b"},
        "basic.get-ok": {
            "delivery-tag": 7, "redelivered": False, "exchange": "ex", "routing-key": "a.b", "message-count": 3},
    }
    for method, arguments in methods.items():
        for title, body, frame_max in contents:
            for properties in ({}, PROPERTIES) if method == "basic.publish" else ({"delivery-mode": 2},):
                yield {
                    "name": "%s, %s, %d properties" % (method, title, len(properties)), "kind": "content",
                    "frame-max": frame_max, "value": {
                        "channel": 0x0201, "method": method, "arguments": arguments, "properties": properties,
                        "body": octets(body)}}


def cases():
    yield from frames()
    yield from method_cases()
    yield from further_methods()
    for title, properties in property_lists():
        yield {"name": title, "kind": "properties", "value": properties}
