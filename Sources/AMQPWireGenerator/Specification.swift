// SPDX-License-Identifier: Apache-2.0

/// The wire types of AMQP 0-9-1 (specification section 4.2.1).
enum FieldType {
    case bit, octet, short, long, longlong, shortString, longString, table

    var swiftType: String {
        switch self {
        case .bit: "Bool"
        case .octet: "UInt8"
        case .short: "UInt16"
        case .long: "UInt32"
        case .longlong: "UInt64"
        case .shortString: "String"
        case .longString: "AMQPLongString"
        case .table: "AMQPTable"
        }
    }

    /// For the doc comment of a field.
    var words: String {
        switch self {
        case .bit: "a bit"
        case .octet: "8 bits"
        case .short: "16 bits"
        case .long: "32 bits"
        case .longlong: "64 bits"
        case .shortString: "a short string, at most 255 bytes"
        case .longString: "a long string"
        case .table: "a field table"
        }
    }

    /// What a field that the specification reserves is sent as, and how wide it is when it is skipped.
    var zero: String {
        switch self {
        case .bit: "false"
        case .octet, .short, .long, .longlong: "0"
        case .shortString, .longString: "\"\""
        case .table: "[:]"
        }
    }
}

struct Field {
    var name: String
    var type: FieldType
    /// Reserved by the specification: sent as zero, skipped on arrival, not a property of the Swift type.
    var isReserved = false

    static func bit(_ name: String) -> Field { Field(name: name, type: .bit) }
    static func octet(_ name: String) -> Field { Field(name: name, type: .octet) }
    static func short(_ name: String) -> Field { Field(name: name, type: .short) }
    static func long(_ name: String) -> Field { Field(name: name, type: .long) }
    static func longlong(_ name: String) -> Field { Field(name: name, type: .longlong) }
    static func shortString(_ name: String) -> Field { Field(name: name, type: .shortString) }
    static func longString(_ name: String) -> Field { Field(name: name, type: .longString) }
    static func table(_ name: String) -> Field { Field(name: name, type: .table) }
    static func reserved(_ type: FieldType) -> Field { Field(name: "reserved", type: type, isReserved: true) }
}

struct Method {
    var id: Int
    var name: String
    var hasContent = false
    var fields: [Field]

    init(_ id: Int, _ name: String, hasContent: Bool = false, _ fields: [Field] = []) {
        self.id = id
        self.name = name
        self.hasContent = hasContent
        self.fields = fields
    }
}

struct Class {
    var id: Int
    var name: String
    var methods: [Method]
}

/// Every method of AMQP 0-9-1 with RabbitMQ's extensions: the single declaration both directions follow from.
///
/// Sources: specification 0-9-1, part 2 (class reference), and RabbitMQ's extended `amqp0-9-1.extended.xml`.
let specification: [Class] = [
    Class(
        id: 10, name: "connection",
        methods: [
            Method(
                10, "start",
                [
                    .octet("versionMajor"), .octet("versionMinor"), .table("serverProperties"),
                    .longString("mechanisms"),
                    .longString("locales"),
                ]),
            Method(
                11, "startOk",
                [
                    .table("clientProperties"), .shortString("mechanism"), .longString("response"),
                    .shortString("locale"),
                ]),
            Method(20, "secure", [.longString("challenge")]),
            Method(21, "secureOk", [.longString("response")]),
            Method(30, "tune", [.short("channelMax"), .long("frameMax"), .short("heartbeat")]),
            Method(31, "tuneOk", [.short("channelMax"), .long("frameMax"), .short("heartbeat")]),
            Method(40, "open", [.shortString("virtualHost"), .reserved(.shortString), .reserved(.bit)]),
            Method(41, "openOk", [.reserved(.shortString)]),
            Method(
                50, "close",
                [
                    .short("replyCode"), .shortString("replyText"), .short("failingClassID"), .short("failingMethodID"),
                ]),
            Method(51, "closeOk"),
            Method(60, "blocked", [.shortString("reason")]),
            Method(61, "unblocked"),
            Method(70, "updateSecret", [.longString("newSecret"), .shortString("reason")]),
            Method(71, "updateSecretOk"),
        ]),
    Class(
        id: 20, name: "channel",
        methods: [
            Method(10, "open", [.reserved(.shortString)]),
            Method(11, "openOk", [.reserved(.longString)]),
            Method(20, "flow", [.bit("active")]),
            Method(21, "flowOk", [.bit("active")]),
            Method(
                40, "close",
                [
                    .short("replyCode"), .shortString("replyText"), .short("failingClassID"), .short("failingMethodID"),
                ]),
            Method(41, "closeOk"),
        ]),
    Class(
        id: 30, name: "access",
        methods: [
            Method(
                10, "request",
                [
                    .shortString("realm"), .bit("exclusive"), .bit("passive"), .bit("active"), .bit("write"),
                    .bit("read"),
                ]),
            Method(11, "requestOk", [.short("ticket")]),
        ]),
    Class(
        id: 40, name: "exchange",
        methods: [
            Method(
                10, "declare",
                [
                    .reserved(.short), .shortString("exchange"), .shortString("type"), .bit("passive"), .bit("durable"),
                    .bit("autoDelete"), .bit("internal"), .bit("noWait"), .table("arguments"),
                ]),
            Method(11, "declareOk"),
            Method(20, "delete", [.reserved(.short), .shortString("exchange"), .bit("ifUnused"), .bit("noWait")]),
            Method(21, "deleteOk"),
            Method(
                30, "bind",
                [
                    .reserved(.short), .shortString("destination"), .shortString("source"), .shortString("routingKey"),
                    .bit("noWait"), .table("arguments"),
                ]),
            Method(31, "bindOk"),
            Method(
                40, "unbind",
                [
                    .reserved(.short), .shortString("destination"), .shortString("source"), .shortString("routingKey"),
                    .bit("noWait"), .table("arguments"),
                ]),
            Method(51, "unbindOk"),
        ]),
    Class(
        id: 50, name: "queue",
        methods: [
            Method(
                10, "declare",
                [
                    .reserved(.short), .shortString("queue"), .bit("passive"), .bit("durable"), .bit("exclusive"),
                    .bit("autoDelete"), .bit("noWait"), .table("arguments"),
                ]),
            Method(11, "declareOk", [.shortString("queue"), .long("messageCount"), .long("consumerCount")]),
            Method(
                20, "bind",
                [
                    .reserved(.short), .shortString("queue"), .shortString("exchange"), .shortString("routingKey"),
                    .bit("noWait"), .table("arguments"),
                ]),
            Method(21, "bindOk"),
            Method(30, "purge", [.reserved(.short), .shortString("queue"), .bit("noWait")]),
            Method(31, "purgeOk", [.long("messageCount")]),
            Method(
                40, "delete",
                [
                    .reserved(.short), .shortString("queue"), .bit("ifUnused"), .bit("ifEmpty"), .bit("noWait"),
                ]),
            Method(41, "deleteOk", [.long("messageCount")]),
            Method(
                50, "unbind",
                [
                    .reserved(.short), .shortString("queue"), .shortString("exchange"), .shortString("routingKey"),
                    .table("arguments"),
                ]),
            Method(51, "unbindOk"),
        ]),
    Class(
        id: 60, name: "basic",
        methods: [
            Method(10, "qos", [.long("prefetchSize"), .short("prefetchCount"), .bit("global")]),
            Method(11, "qosOk"),
            Method(
                20, "consume",
                [
                    .reserved(.short), .shortString("queue"), .shortString("consumerTag"), .bit("noLocal"),
                    .bit("noAck"),
                    .bit("exclusive"), .bit("noWait"), .table("arguments"),
                ]),
            Method(21, "consumeOk", [.shortString("consumerTag")]),
            Method(30, "cancel", [.shortString("consumerTag"), .bit("noWait")]),
            Method(31, "cancelOk", [.shortString("consumerTag")]),
            Method(
                40, "publish", hasContent: true,
                [
                    .reserved(.short), .shortString("exchange"), .shortString("routingKey"), .bit("mandatory"),
                    .bit("immediate"),
                ]),
            Method(
                50, "return", hasContent: true,
                [
                    .short("replyCode"), .shortString("replyText"), .shortString("exchange"),
                    .shortString("routingKey"),
                ]),
            Method(
                60, "deliver", hasContent: true,
                [
                    .shortString("consumerTag"), .longlong("deliveryTag"), .bit("redelivered"),
                    .shortString("exchange"),
                    .shortString("routingKey"),
                ]),
            Method(70, "get", [.reserved(.short), .shortString("queue"), .bit("noAck")]),
            Method(
                71, "getOk", hasContent: true,
                [
                    .longlong("deliveryTag"), .bit("redelivered"), .shortString("exchange"), .shortString("routingKey"),
                    .long("messageCount"),
                ]),
            Method(72, "getEmpty", [.reserved(.shortString)]),
            Method(80, "ack", [.longlong("deliveryTag"), .bit("multiple")]),
            Method(90, "reject", [.longlong("deliveryTag"), .bit("requeue")]),
            Method(100, "recoverAsync", [.bit("requeue")]),
            Method(110, "recover", [.bit("requeue")]),
            Method(111, "recoverOk"),
            Method(120, "nack", [.longlong("deliveryTag"), .bit("multiple"), .bit("requeue")]),
        ]),
    Class(
        id: 85, name: "confirm",
        methods: [
            Method(10, "select", [.bit("noWait")]),
            Method(11, "selectOk"),
        ]),
    Class(
        id: 90, name: "tx",
        methods: [
            Method(10, "select"),
            Method(11, "selectOk"),
            Method(20, "commit"),
            Method(21, "commitOk"),
            Method(30, "rollback"),
            Method(31, "rollbackOk"),
        ]),
]
