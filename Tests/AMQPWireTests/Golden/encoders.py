# SPDX-License-Identifier: Apache-2.0
"""Turns a case of cases.py into what an implementation takes, and lets that implementation write the bytes."""
import datetime
import decimal
import glob
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


class Unsupported(Exception):
    """The implementation has no way to write this case."""


def plain(value):
    """The bytes of text or octets, from their description."""
    if isinstance(value, str):
        return value.encode()
    out = bytearray()
    for part in value["hex"].split():
        digits, _, count = part.partition("*")
        out += bytes.fromhex(digits) * int(count or 1)
    return bytes(out)


def string(value):
    try:
        return plain(value).decode()
    except UnicodeDecodeError:
        raise Unsupported


def only(field):
    (kind, value), = field.items()
    return kind, value


def signed(value):
    return value - 2**32 if value >= 2**31 else value


def date(seconds):
    if seconds >= 253_402_300_800:  # the year 10000
        raise Unsupported
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)


def dictionary(entries, convert):
    result = {string(name): convert(field) for name, field in entries}
    if len(result) < len(entries):
        raise Unsupported
    return result


# MARK: - pika


class Pika:
    name = "pika"
    # Where its name of an argument is not the specification's.
    arguments = {"no-wait": "nowait", "global": "global_qos"}

    @staticmethod
    def missing():
        try:
            import pika  # noqa: F401
        except ImportError:
            return "python3-pika"

    def encode(self, case):
        import pika.frame
        value = case["value"]
        if case["kind"] == "protocol-header":
            return pika.frame.ProtocolHeader().marshal()
        if case["kind"] == "heartbeat":
            return pika.frame.Heartbeat().marshal()
        if case["kind"] == "method":
            return pika.frame.Method(value["channel"], self.method(case)).marshal()
        if case["kind"] == "properties":
            return b"".join(self.properties(value).encode())
        if case["kind"] == "header":
            properties = self.properties(value["properties"])
            return pika.frame.Header(value["channel"], value["body-size"], properties).marshal()
        if case["kind"] == "body":
            return pika.frame.Body(value["channel"], plain(value["body"])).marshal()
        raise Unsupported  # how content is cut into frames is up to its user

    def method(self, case):
        import pika.spec
        class_name, method_name = case["value"]["method"].split(".")
        amqp_class = getattr(pika.spec, class_name.capitalize())
        make = getattr(amqp_class, "".join(part.capitalize() for part in method_name.split("-")), None)
        if make is None:
            raise Unsupported
        arguments = dict(case["value"]["arguments"], **case.get("reserved", {}))
        return make(**{
            self.arguments.get(name, name.replace("-", "_")): self.value(value) for name, value in arguments.items()})

    def properties(self, properties):
        import pika.spec
        return pika.spec.BasicProperties(
            **{name.replace("-", "_"): self.value(value) for name, value in properties.items()})

    def value(self, value):
        if isinstance(value, list):
            return dictionary(value, self.field)
        return string(value) if isinstance(value, (str, dict)) else value

    def field(self, field):
        import pika.compat
        kind, value = only(field)
        if kind in ("boolean", "int32", "void"):
            return value
        if kind == "int64":
            return pika.compat.long(value)
        if kind == "decimal":
            if value["scale"] > 0 and signed(value["value"]) % 10 == 0:
                raise Unsupported  # it takes zeros off the end
            return decimal.Decimal(signed(value["value"])).scaleb(-value["scale"])
        if kind == "long-string":
            return string(value)
        if kind == "byte-array":
            return plain(value)
        if kind == "array":
            return [self.field(element) for element in value]
        if kind == "timestamp":
            return date(value)
        if kind == "table":
            return dictionary(value, self.field)
        raise Unsupported


# MARK: - py-amqp


class PyAMQP:
    """For tables only: it writes what the other two cannot, and L for numbers of 64 bits."""

    name = "py-amqp"

    @staticmethod
    def missing():
        try:
            import amqp.basic_message  # noqa: F401
        except ImportError:
            return "python3-amqp"

    def encode(self, case):
        import amqp.basic_message
        if case["kind"] != "properties" or list(case["value"]) != ["headers"]:
            raise Unsupported
        headers = dictionary(case["value"]["headers"], self.field)
        return amqp.basic_message.Message(application_headers=headers)._serialize_properties()

    def field(self, field):
        kind, value = only(field)
        if kind in ("boolean", "void"):
            return value
        if kind == "double":
            return float(value)
        if kind in ("int32", "int64"):
            if (kind == "int32") != (abs(value) < 2**31):
                raise Unsupported  # it chooses the type by the size
            return value
        if kind == "decimal":
            return decimal.Decimal(signed(value["value"])).scaleb(-value["scale"])
        if kind == "long-string":
            return plain(value)
        if kind == "array":
            return [self.field(element) for element in value]
        if kind == "timestamp":
            return date(value)
        if kind == "table":
            return dictionary(value, self.field)
        raise Unsupported


# MARK: - RabbitMQ


class RabbitMQ:
    """Writes the cases as terms of Erlang, which rabbitmq.escript hands to RabbitMQ's own modules."""

    name = "rabbitmq"
    types = {
        "boolean": "bool", "int8": "byte", "uint8": "unsignedbyte", "int16": "short", "uint16": "unsignedshort",
        "int32": "signedint", "uint32": "unsignedint", "int64": "long", "float": "float", "double": "double",
        "decimal": "decimal", "long-string": "longstr", "byte-array": "binary", "array": "array",
        "timestamp": "timestamp", "table": "table", "void": "void",
    }
    arguments = {"no-wait": "nowait"}

    @staticmethod
    def paths():
        return glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins/rabbit_common-*/ebin")

    @classmethod
    def missing(cls):
        if not cls.paths() or not os.path.exists("/usr/bin/escript"):
            return "rabbitmq-server"

    def encode_all(self, cases):
        """The bytes of each case, None where there are none."""
        terms = []
        for case in cases:
            try:
                terms.append(self.term(case))
            except Unsupported:
                terms.append(None)
        with tempfile.NamedTemporaryFile("w", suffix=".terms") as file:
            file.write("".join(term + ".\n" for term in terms if term))
            file.flush()
            command = ["/usr/bin/escript", os.path.join(HERE, "rabbitmq.escript"), file.name, *self.paths()]
            run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60)
        if run.returncode != 0:
            sys.exit("rabbitmq.escript failed: %s" % run.stdout.decode(errors="replace")[-2000:])
        lines = iter(run.stdout.decode().split("\n"))
        return [bytes.fromhex(next(lines)) if term else None for term in terms]

    def term(self, case):
        value = case["value"]
        if case["kind"] == "heartbeat":
            return "heartbeat"
        if case["kind"] == "properties":
            return "{properties,%s}" % self.named(value)
        if case["kind"] == "method":
            return "{method,%s}" % self.method(case)
        if case["kind"] == "content":
            return "{content,%s,%s,%s,%d}" % (
                self.method(case), self.named(value["properties"]), self.binary(value["body"]), case["frame-max"])
        raise Unsupported

    def method(self, case):
        value = case["value"]
        arguments = dict(value["arguments"], **case.get("reserved", {}))
        return "%d,'%s',%s" % (value["channel"], value["method"].replace("-", "_"), self.named(arguments))

    def named(self, values):
        return "[%s]" % ",".join(
            "{'%s',%s}" % (self.arguments.get(name, name.replace("-", "_")), self.value(value))
            for name, value in values.items())

    def value(self, value):
        if isinstance(value, list):
            return self.table(value)
        if isinstance(value, bool):
            return str(value).lower()
        return str(value) if isinstance(value, int) else self.binary(value)

    def binary(self, value):
        return "<<%s>>" % ",".join(map(str, plain(value)))

    def table(self, entries):
        return "[%s]" % ",".join("{%s,%s}" % (self.binary(name), self.field(field)) for name, field in entries)

    def field(self, field):
        kind, value = only(field)
        if kind == "boolean":
            shown = str(value).lower()
        elif kind in ("float", "double"):
            shown = self.fraction(value)
        elif kind == "decimal":
            shown = "{%d,%d}" % (value["scale"], value["value"])
        elif kind in ("long-string", "byte-array"):
            shown = self.binary(value)
        elif kind == "array":
            shown = "[%s]" % ",".join("{%s}" % self.field(element) for element in value)
        elif kind == "table":
            shown = self.table(value)
        else:
            shown = "undefined" if value is None else str(value)
        return "%s,%s" % (self.types[kind], shown)

    @staticmethod
    def fraction(value):
        if value in ("nan", "inf", "-inf"):
            raise Unsupported  # Erlang has none of them
        mantissa, e, exponent = value.partition("e")
        return (mantissa if "." in mantissa else mantissa + ".0") + e + exponent
