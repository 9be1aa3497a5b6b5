// SPDX-License-Identifier: Apache-2.0
package import AMQPWire

/// A method and the frame that carries it on channel 0x0102, as another encoder (pika 1.4.4, Python) writes it.
package struct MethodSample: Sendable {
    package var name: String
    package var method: AMQPMethod
    /// The frame in hexadecimal.
    package var golden: String

    init(_ name: String, _ method: AMQPMethod, _ golden: String) {
        self.name = name
        self.method = method
        self.golden = golden
    }

    package static let channelID: UInt16 = 0x0102

    /// Every method with every field set and with none, and with each of several bits alone.
    package static let all: [MethodSample] =
        connection + channel + access + exchange
        + queue + basic + confirm + tx
}

extension MethodSample {
    static let connection: [MethodSample] = [
        .init(
            "connection.start, every field set",
            .connectionStart(
                .init(
                    versionMajor: 0x81, versionMinor: 0x82, serverProperties: ["x-key": "value", "on": true],
                    mechanisms: "mechanisms ✓", locales: "locales ✓")),
            "01010200000040000a000a81820000001505782d6b6579530000000576616c7565026f6e74010000000e6d656368616e"
                + "69736d7320e29c930000000b6c6f63616c657320e29c93ce"),
        .init(
            "connection.start, zero and empty",
            .connectionStart(
                .init(
                    versionMajor: 0x0, versionMinor: 0x0, serverProperties: [:], mechanisms: "", locales: "")),
            "01010200000012000a000a0000000000000000000000000000ce"),
        .init(
            "connection.start-ok, every field set",
            .connectionStartOk(
                .init(
                    clientProperties: ["x-key": "value", "on": true], mechanism: "mechanism ✓", response: "response ✓",
                    locale: "locale ✓")),
            "01010200000046000a000b0000001505782d6b6579530000000576616c7565026f6e74010d6d656368616e69736d20e2"
                + "9c930000000c726573706f6e736520e29c930a6c6f63616c6520e29c93ce"),
        .init(
            "connection.start-ok, zero and empty",
            .connectionStartOk(
                .init(
                    clientProperties: [:], mechanism: "", response: "", locale: "")),
            "0101020000000e000a000b00000000000000000000ce"),
        .init(
            "connection.secure, every field set", .connectionSecure(.init(challenge: "challenge ✓")),
            "01010200000015000a00140000000d6368616c6c656e676520e29c93ce"),
        .init(
            "connection.secure, zero and empty", .connectionSecure(.init(challenge: "")),
            "01010200000008000a001400000000ce"),
        .init(
            "connection.secure-ok, every field set", .connectionSecureOk(.init(response: "response ✓")),
            "01010200000014000a00150000000c726573706f6e736520e29c93ce"),
        .init(
            "connection.secure-ok, zero and empty", .connectionSecureOk(.init(response: "")),
            "01010200000008000a001500000000ce"),
        .init(
            "connection.tune, every field set",
            .connectionTune(
                .init(
                    channelMax: 0x8192, frameMax: 0x8293a4b5, heartbeat: 0x8394)),
            "0101020000000c000a001e81928293a4b58394ce"),
        .init(
            "connection.tune, zero and empty",
            .connectionTune(
                .init(
                    channelMax: 0x0, frameMax: 0x0, heartbeat: 0x0)),
            "0101020000000c000a001e0000000000000000ce"),
        .init(
            "connection.tune-ok, every field set",
            .connectionTuneOk(
                .init(
                    channelMax: 0x8192, frameMax: 0x8293a4b5, heartbeat: 0x8394)),
            "0101020000000c000a001f81928293a4b58394ce"),
        .init(
            "connection.tune-ok, zero and empty",
            .connectionTuneOk(
                .init(
                    channelMax: 0x0, frameMax: 0x0, heartbeat: 0x0)),
            "0101020000000c000a001f0000000000000000ce"),
        .init(
            "connection.open, every field set", .connectionOpen(.init(virtualHost: "virtual-host ✓")),
            "01010200000017000a0028107669727475616c2d686f737420e29c930000ce"),
        .init(
            "connection.open, zero and empty", .connectionOpen(.init(virtualHost: "")),
            "01010200000007000a0028000000ce"),
        .init(
            "connection.open-ok, no fields", .connectionOpenOk(.init()),
            "01010200000005000a002900ce"),
        .init(
            "connection.close, every field set",
            .connectionClose(
                .init(
                    replyCode: 0x8192, replyText: "reply-text ✓", failingClassID: 0x8394, failingMethodID: 0x8495)),
            "01010200000019000a003281920e7265706c792d7465787420e29c9383948495ce"),
        .init(
            "connection.close, zero and empty",
            .connectionClose(
                .init(
                    replyCode: 0x0, replyText: "", failingClassID: 0x0, failingMethodID: 0x0)),
            "0101020000000b000a003200000000000000ce"),
        .init(
            "connection.close-ok, no fields", .connectionCloseOk(.init()),
            "01010200000004000a0033ce"),
        .init(
            "connection.blocked, every field set", .connectionBlocked(.init(reason: "reason ✓")),
            "0101020000000f000a003c0a726561736f6e20e29c93ce"),
        .init(
            "connection.blocked, zero and empty", .connectionBlocked(.init(reason: "")),
            "01010200000005000a003c00ce"),
        .init(
            "connection.unblocked, no fields", .connectionUnblocked(.init()),
            "01010200000004000a003dce"),
        .init(
            "connection.update-secret, every field set",
            .connectionUpdateSecret(
                .init(
                    newSecret: "new-secret ✓", reason: "reason ✓")),
            "01010200000021000a00460000000e6e65772d73656372657420e29c930a726561736f6e20e29c93ce"),
        .init(
            "connection.update-secret, zero and empty", .connectionUpdateSecret(.init(newSecret: "", reason: "")),
            "01010200000009000a00460000000000ce"),
        .init(
            "connection.update-secret-ok, no fields", .connectionUpdateSecretOk(.init()),
            "01010200000004000a0047ce"),
    ]

    static let channel: [MethodSample] = [
        .init(
            "channel.open, no fields", .channelOpen(.init()),
            "010102000000050014000a00ce"),
        .init(
            "channel.open-ok, no fields", .channelOpenOk(.init()),
            "010102000000080014000b00000000ce"),
        .init(
            "channel.flow, every field set", .channelFlow(.init(active: true)),
            "010102000000050014001401ce"),
        .init(
            "channel.flow, zero and empty", .channelFlow(.init(active: false)),
            "010102000000050014001400ce"),
        .init(
            "channel.flow-ok, every field set", .channelFlowOk(.init(active: true)),
            "010102000000050014001501ce"),
        .init(
            "channel.flow-ok, zero and empty", .channelFlowOk(.init(active: false)),
            "010102000000050014001500ce"),
        .init(
            "channel.close, every field set",
            .channelClose(
                .init(
                    replyCode: 0x8192, replyText: "reply-text ✓", failingClassID: 0x8394, failingMethodID: 0x8495)),
            "010102000000190014002881920e7265706c792d7465787420e29c9383948495ce"),
        .init(
            "channel.close, zero and empty",
            .channelClose(
                .init(
                    replyCode: 0x0, replyText: "", failingClassID: 0x0, failingMethodID: 0x0)),
            "0101020000000b0014002800000000000000ce"),
        .init(
            "channel.close-ok, no fields", .channelCloseOk(.init()),
            "0101020000000400140029ce"),
    ]

    static let access: [MethodSample] = [
        .init(
            "access.request, every field set",
            .accessRequest(
                .init(
                    realm: "realm ✓", exclusive: true, passive: true, active: true, write: true, read: true)),
            "0101020000000f001e000a097265616c6d20e29c931fce"),
        .init(
            "access.request, zero and empty",
            .accessRequest(
                .init(
                    realm: "", exclusive: false, passive: false, active: false, write: false, read: false)),
            "01010200000006001e000a0000ce"),
        .init(
            "access.request, exclusive alone",
            .accessRequest(
                .init(
                    realm: "", exclusive: true, passive: false, active: false, write: false, read: false)),
            "01010200000006001e000a0001ce"),
        .init(
            "access.request, passive alone",
            .accessRequest(
                .init(
                    realm: "", exclusive: false, passive: true, active: false, write: false, read: false)),
            "01010200000006001e000a0002ce"),
        .init(
            "access.request, active alone",
            .accessRequest(
                .init(
                    realm: "", exclusive: false, passive: false, active: true, write: false, read: false)),
            "01010200000006001e000a0004ce"),
        .init(
            "access.request, write alone",
            .accessRequest(
                .init(
                    realm: "", exclusive: false, passive: false, active: false, write: true, read: false)),
            "01010200000006001e000a0008ce"),
        .init(
            "access.request, read alone",
            .accessRequest(
                .init(
                    realm: "", exclusive: false, passive: false, active: false, write: false, read: true)),
            "01010200000006001e000a0010ce"),
        .init(
            "access.request-ok, every field set", .accessRequestOk(.init(ticket: 0x8192)),
            "01010200000006001e000b8192ce"),
        .init(
            "access.request-ok, zero and empty", .accessRequestOk(.init(ticket: 0x0)),
            "01010200000006001e000b0000ce"),
    ]

    static let exchange: [MethodSample] = [
        .init(
            "exchange.declare, every field set",
            .exchangeDeclare(
                .init(
                    exchange: "exchange ✓", type: "type ✓", passive: true, durable: true, autoDelete: true,
                    internal: true, noWait: true, arguments: ["x-key": "value", "on": true])),
            "010102000000360028000a00000c65786368616e676520e29c93087479706520e29c931f0000001505782d6b65795300"
                + "00000576616c7565026f6e7401ce"),
        .init(
            "exchange.declare, zero and empty",
            .exchangeDeclare(
                .init(
                    exchange: "", type: "", passive: false, durable: false, autoDelete: false, internal: false,
                    noWait: false, arguments: [:])),
            "0101020000000d0028000a000000000000000000ce"),
        .init(
            "exchange.declare, passive alone",
            .exchangeDeclare(
                .init(
                    exchange: "", type: "", passive: true, durable: false, autoDelete: false, internal: false,
                    noWait: false, arguments: [:])),
            "0101020000000d0028000a000000000100000000ce"),
        .init(
            "exchange.declare, durable alone",
            .exchangeDeclare(
                .init(
                    exchange: "", type: "", passive: false, durable: true, autoDelete: false, internal: false,
                    noWait: false, arguments: [:])),
            "0101020000000d0028000a000000000200000000ce"),
        .init(
            "exchange.declare, auto-delete alone",
            .exchangeDeclare(
                .init(
                    exchange: "", type: "", passive: false, durable: false, autoDelete: true, internal: false,
                    noWait: false, arguments: [:])),
            "0101020000000d0028000a000000000400000000ce"),
        .init(
            "exchange.declare, internal alone",
            .exchangeDeclare(
                .init(
                    exchange: "", type: "", passive: false, durable: false, autoDelete: false, internal: true,
                    noWait: false, arguments: [:])),
            "0101020000000d0028000a000000000800000000ce"),
        .init(
            "exchange.declare, no-wait alone",
            .exchangeDeclare(
                .init(
                    exchange: "", type: "", passive: false, durable: false, autoDelete: false, internal: false,
                    noWait: true, arguments: [:])),
            "0101020000000d0028000a000000001000000000ce"),
        .init(
            "exchange.declare-ok, no fields", .exchangeDeclareOk(.init()),
            "010102000000040028000bce"),
        .init(
            "exchange.delete, every field set",
            .exchangeDelete(
                .init(
                    exchange: "exchange ✓", ifUnused: true, noWait: true)),
            "010102000000140028001400000c65786368616e676520e29c9303ce"),
        .init(
            "exchange.delete, zero and empty", .exchangeDelete(.init(exchange: "", ifUnused: false, noWait: false)),
            "010102000000080028001400000000ce"),
        .init(
            "exchange.delete, if-unused alone", .exchangeDelete(.init(exchange: "", ifUnused: true, noWait: false)),
            "010102000000080028001400000001ce"),
        .init(
            "exchange.delete, no-wait alone", .exchangeDelete(.init(exchange: "", ifUnused: false, noWait: true)),
            "010102000000080028001400000002ce"),
        .init(
            "exchange.delete-ok, no fields", .exchangeDeleteOk(.init()),
            "0101020000000400280015ce"),
        .init(
            "exchange.bind, every field set",
            .exchangeBind(
                .init(
                    destination: "destination ✓", source: "source ✓", routingKey: "routing-key ✓", noWait: true,
                    arguments: ["x-key": "value", "on": true])),
            "0101020000004b0028001e00000f64657374696e6174696f6e20e29c930a736f7572636520e29c930f726f7574696e67"
                + "2d6b657920e29c93010000001505782d6b6579530000000576616c7565026f6e7401ce"),
        .init(
            "exchange.bind, zero and empty",
            .exchangeBind(
                .init(
                    destination: "", source: "", routingKey: "", noWait: false, arguments: [:])),
            "0101020000000e0028001e00000000000000000000ce"),
        .init(
            "exchange.bind-ok, no fields", .exchangeBindOk(.init()),
            "010102000000040028001fce"),
        .init(
            "exchange.unbind, every field set",
            .exchangeUnbind(
                .init(
                    destination: "destination ✓", source: "source ✓", routingKey: "routing-key ✓", noWait: true,
                    arguments: ["x-key": "value", "on": true])),
            "0101020000004b0028002800000f64657374696e6174696f6e20e29c930a736f7572636520e29c930f726f7574696e67"
                + "2d6b657920e29c93010000001505782d6b6579530000000576616c7565026f6e7401ce"),
        .init(
            "exchange.unbind, zero and empty",
            .exchangeUnbind(
                .init(
                    destination: "", source: "", routingKey: "", noWait: false, arguments: [:])),
            "0101020000000e0028002800000000000000000000ce"),
        .init(
            "exchange.unbind-ok, no fields", .exchangeUnbindOk(.init()),
            "0101020000000400280033ce"),
    ]

    static let queue: [MethodSample] = [
        .init(
            "queue.declare, every field set",
            .queueDeclare(
                .init(
                    queue: "queue ✓", passive: true, durable: true, exclusive: true, autoDelete: true, noWait: true,
                    arguments: ["x-key": "value", "on": true])),
            "0101020000002a0032000a000009717565756520e29c931f0000001505782d6b6579530000000576616c7565026f6e74"
                + "01ce"),
        .init(
            "queue.declare, zero and empty",
            .queueDeclare(
                .init(
                    queue: "", passive: false, durable: false, exclusive: false, autoDelete: false, noWait: false,
                    arguments: [:])),
            "0101020000000c0032000a0000000000000000ce"),
        .init(
            "queue.declare, passive alone",
            .queueDeclare(
                .init(
                    queue: "", passive: true, durable: false, exclusive: false, autoDelete: false, noWait: false,
                    arguments: [:])),
            "0101020000000c0032000a0000000100000000ce"),
        .init(
            "queue.declare, durable alone",
            .queueDeclare(
                .init(
                    queue: "", passive: false, durable: true, exclusive: false, autoDelete: false, noWait: false,
                    arguments: [:])),
            "0101020000000c0032000a0000000200000000ce"),
        .init(
            "queue.declare, exclusive alone",
            .queueDeclare(
                .init(
                    queue: "", passive: false, durable: false, exclusive: true, autoDelete: false, noWait: false,
                    arguments: [:])),
            "0101020000000c0032000a0000000400000000ce"),
        .init(
            "queue.declare, auto-delete alone",
            .queueDeclare(
                .init(
                    queue: "", passive: false, durable: false, exclusive: false, autoDelete: true, noWait: false,
                    arguments: [:])),
            "0101020000000c0032000a0000000800000000ce"),
        .init(
            "queue.declare, no-wait alone",
            .queueDeclare(
                .init(
                    queue: "", passive: false, durable: false, exclusive: false, autoDelete: false, noWait: true,
                    arguments: [:])),
            "0101020000000c0032000a0000001000000000ce"),
        .init(
            "queue.declare-ok, every field set",
            .queueDeclareOk(
                .init(
                    queue: "queue ✓", messageCount: 0x8293a4b5, consumerCount: 0x8394a5b6)),
            "010102000000160032000b09717565756520e29c938293a4b58394a5b6ce"),
        .init(
            "queue.declare-ok, zero and empty",
            .queueDeclareOk(
                .init(
                    queue: "", messageCount: 0x0, consumerCount: 0x0)),
            "0101020000000d0032000b000000000000000000ce"),
        .init(
            "queue.bind, every field set",
            .queueBind(
                .init(
                    queue: "queue ✓", exchange: "exchange ✓", routingKey: "routing-key ✓", noWait: true,
                    arguments: ["x-key": "value", "on": true])),
            "0101020000004700320014000009717565756520e29c930c65786368616e676520e29c930f726f7574696e672d6b6579"
                + "20e29c93010000001505782d6b6579530000000576616c7565026f6e7401ce"),
        .init(
            "queue.bind, zero and empty",
            .queueBind(
                .init(
                    queue: "", exchange: "", routingKey: "", noWait: false, arguments: [:])),
            "0101020000000e0032001400000000000000000000ce"),
        .init(
            "queue.bind-ok, no fields", .queueBindOk(.init()),
            "0101020000000400320015ce"),
        .init(
            "queue.purge, every field set", .queuePurge(.init(queue: "queue ✓", noWait: true)),
            "010102000000110032001e000009717565756520e29c9301ce"),
        .init(
            "queue.purge, zero and empty", .queuePurge(.init(queue: "", noWait: false)),
            "010102000000080032001e00000000ce"),
        .init(
            "queue.purge-ok, every field set", .queuePurgeOk(.init(messageCount: 0x8192a3b4)),
            "010102000000080032001f8192a3b4ce"),
        .init(
            "queue.purge-ok, zero and empty", .queuePurgeOk(.init(messageCount: 0x0)),
            "010102000000080032001f00000000ce"),
        .init(
            "queue.delete, every field set",
            .queueDelete(
                .init(
                    queue: "queue ✓", ifUnused: true, ifEmpty: true, noWait: true)),
            "0101020000001100320028000009717565756520e29c9307ce"),
        .init(
            "queue.delete, zero and empty",
            .queueDelete(
                .init(
                    queue: "", ifUnused: false, ifEmpty: false, noWait: false)),
            "010102000000080032002800000000ce"),
        .init(
            "queue.delete, if-unused alone",
            .queueDelete(
                .init(
                    queue: "", ifUnused: true, ifEmpty: false, noWait: false)),
            "010102000000080032002800000001ce"),
        .init(
            "queue.delete, if-empty alone",
            .queueDelete(
                .init(
                    queue: "", ifUnused: false, ifEmpty: true, noWait: false)),
            "010102000000080032002800000002ce"),
        .init(
            "queue.delete, no-wait alone",
            .queueDelete(
                .init(
                    queue: "", ifUnused: false, ifEmpty: false, noWait: true)),
            "010102000000080032002800000004ce"),
        .init(
            "queue.delete-ok, every field set", .queueDeleteOk(.init(messageCount: 0x8192a3b4)),
            "01010200000008003200298192a3b4ce"),
        .init(
            "queue.delete-ok, zero and empty", .queueDeleteOk(.init(messageCount: 0x0)),
            "010102000000080032002900000000ce"),
        .init(
            "queue.unbind, every field set",
            .queueUnbind(
                .init(
                    queue: "queue ✓", exchange: "exchange ✓", routingKey: "routing-key ✓",
                    arguments: ["x-key": "value", "on": true])),
            "0101020000004600320032000009717565756520e29c930c65786368616e676520e29c930f726f7574696e672d6b6579"
                + "20e29c930000001505782d6b6579530000000576616c7565026f6e7401ce"),
        .init(
            "queue.unbind, zero and empty",
            .queueUnbind(
                .init(
                    queue: "", exchange: "", routingKey: "", arguments: [:])),
            "0101020000000d00320032000000000000000000ce"),
        .init(
            "queue.unbind-ok, no fields", .queueUnbindOk(.init()),
            "0101020000000400320033ce"),
    ]

    static let basic: [MethodSample] = [
        .init(
            "basic.qos, every field set",
            .basicQos(
                .init(
                    prefetchSize: 0x8192a3b4, prefetchCount: 0x8293, global: true)),
            "0101020000000b003c000a8192a3b4829301ce"),
        .init(
            "basic.qos, zero and empty", .basicQos(.init(prefetchSize: 0x0, prefetchCount: 0x0, global: false)),
            "0101020000000b003c000a00000000000000ce"),
        .init(
            "basic.qos-ok, no fields", .basicQosOk(.init()),
            "01010200000004003c000bce"),
        .init(
            "basic.consume, every field set",
            .basicConsume(
                .init(
                    queue: "queue ✓", consumerTag: "consumer-tag ✓", noLocal: true, noAck: true, exclusive: true,
                    noWait: true, arguments: ["x-key": "value", "on": true])),
            "0101020000003b003c0014000009717565756520e29c9310636f6e73756d65722d74616720e29c930f0000001505782d"
                + "6b6579530000000576616c7565026f6e7401ce"),
        .init(
            "basic.consume, zero and empty",
            .basicConsume(
                .init(
                    queue: "", consumerTag: "", noLocal: false, noAck: false, exclusive: false, noWait: false,
                    arguments: [:])),
            "0101020000000d003c0014000000000000000000ce"),
        .init(
            "basic.consume, no-local alone",
            .basicConsume(
                .init(
                    queue: "", consumerTag: "", noLocal: true, noAck: false, exclusive: false, noWait: false,
                    arguments: [:])),
            "0101020000000d003c0014000000000100000000ce"),
        .init(
            "basic.consume, no-ack alone",
            .basicConsume(
                .init(
                    queue: "", consumerTag: "", noLocal: false, noAck: true, exclusive: false, noWait: false,
                    arguments: [:])),
            "0101020000000d003c0014000000000200000000ce"),
        .init(
            "basic.consume, exclusive alone",
            .basicConsume(
                .init(
                    queue: "", consumerTag: "", noLocal: false, noAck: false, exclusive: true, noWait: false,
                    arguments: [:])),
            "0101020000000d003c0014000000000400000000ce"),
        .init(
            "basic.consume, no-wait alone",
            .basicConsume(
                .init(
                    queue: "", consumerTag: "", noLocal: false, noAck: false, exclusive: false, noWait: true,
                    arguments: [:])),
            "0101020000000d003c0014000000000800000000ce"),
        .init(
            "basic.consume-ok, every field set", .basicConsumeOk(.init(consumerTag: "consumer-tag ✓")),
            "01010200000015003c001510636f6e73756d65722d74616720e29c93ce"),
        .init(
            "basic.consume-ok, zero and empty", .basicConsumeOk(.init(consumerTag: "")),
            "01010200000005003c001500ce"),
        .init(
            "basic.cancel, every field set", .basicCancel(.init(consumerTag: "consumer-tag ✓", noWait: true)),
            "01010200000016003c001e10636f6e73756d65722d74616720e29c9301ce"),
        .init(
            "basic.cancel, zero and empty", .basicCancel(.init(consumerTag: "", noWait: false)),
            "01010200000006003c001e0000ce"),
        .init(
            "basic.cancel-ok, every field set", .basicCancelOk(.init(consumerTag: "consumer-tag ✓")),
            "01010200000015003c001f10636f6e73756d65722d74616720e29c93ce"),
        .init(
            "basic.cancel-ok, zero and empty", .basicCancelOk(.init(consumerTag: "")),
            "01010200000005003c001f00ce"),
        .init(
            "basic.publish, every field set",
            .basicPublish(
                .init(
                    exchange: "exchange ✓", routingKey: "routing-key ✓", mandatory: true, immediate: true)),
            "01010200000024003c002800000c65786368616e676520e29c930f726f7574696e672d6b657920e29c9303ce"),
        .init(
            "basic.publish, zero and empty",
            .basicPublish(
                .init(
                    exchange: "", routingKey: "", mandatory: false, immediate: false)),
            "01010200000009003c00280000000000ce"),
        .init(
            "basic.publish, mandatory alone",
            .basicPublish(
                .init(
                    exchange: "", routingKey: "", mandatory: true, immediate: false)),
            "01010200000009003c00280000000001ce"),
        .init(
            "basic.publish, immediate alone",
            .basicPublish(
                .init(
                    exchange: "", routingKey: "", mandatory: false, immediate: true)),
            "01010200000009003c00280000000002ce"),
        .init(
            "basic.return, every field set",
            .basicReturn(
                .init(
                    replyCode: 0x8192, replyText: "reply-text ✓", exchange: "exchange ✓", routingKey: "routing-key ✓")),
            "01010200000032003c003281920e7265706c792d7465787420e29c930c65786368616e676520e29c930f726f7574696e"
                + "672d6b657920e29c93ce"),
        .init(
            "basic.return, zero and empty",
            .basicReturn(
                .init(
                    replyCode: 0x0, replyText: "", exchange: "", routingKey: "")),
            "01010200000009003c00320000000000ce"),
        .init(
            "basic.deliver, every field set",
            .basicDeliver(
                .init(
                    consumerTag: "consumer-tag ✓", deliveryTag: 0x8293a4b5c6d7e8f9, redelivered: true,
                    exchange: "exchange ✓", routingKey: "routing-key ✓")),
            "0101020000003b003c003c10636f6e73756d65722d74616720e29c938293a4b5c6d7e8f9010c65786368616e676520e2"
                + "9c930f726f7574696e672d6b657920e29c93ce"),
        .init(
            "basic.deliver, zero and empty",
            .basicDeliver(
                .init(
                    consumerTag: "", deliveryTag: 0x0, redelivered: false, exchange: "", routingKey: "")),
            "01010200000010003c003c000000000000000000000000ce"),
        .init(
            "basic.get, every field set", .basicGet(.init(queue: "queue ✓", noAck: true)),
            "01010200000011003c0046000009717565756520e29c9301ce"),
        .init(
            "basic.get, zero and empty", .basicGet(.init(queue: "", noAck: false)),
            "01010200000008003c004600000000ce"),
        .init(
            "basic.get-ok, every field set",
            .basicGetOk(
                .init(
                    deliveryTag: 0x8192a3b4c5d6e7f8, redelivered: true, exchange: "exchange ✓",
                    routingKey: "routing-key ✓", messageCount: 0x8596a7b8)),
            "0101020000002e003c00478192a3b4c5d6e7f8010c65786368616e676520e29c930f726f7574696e672d6b657920e29c"
                + "938596a7b8ce"),
        .init(
            "basic.get-ok, zero and empty",
            .basicGetOk(
                .init(
                    deliveryTag: 0x0, redelivered: false, exchange: "", routingKey: "", messageCount: 0x0)),
            "01010200000013003c0047000000000000000000000000000000ce"),
        .init(
            "basic.get-empty, no fields", .basicGetEmpty(.init()),
            "01010200000005003c004800ce"),
        .init(
            "basic.ack, every field set", .basicAck(.init(deliveryTag: 0x8192a3b4c5d6e7f8, multiple: true)),
            "0101020000000d003c00508192a3b4c5d6e7f801ce"),
        .init(
            "basic.ack, zero and empty", .basicAck(.init(deliveryTag: 0x0, multiple: false)),
            "0101020000000d003c0050000000000000000000ce"),
        .init(
            "basic.reject, every field set", .basicReject(.init(deliveryTag: 0x8192a3b4c5d6e7f8, requeue: true)),
            "0101020000000d003c005a8192a3b4c5d6e7f801ce"),
        .init(
            "basic.reject, zero and empty", .basicReject(.init(deliveryTag: 0x0, requeue: false)),
            "0101020000000d003c005a000000000000000000ce"),
        .init(
            "basic.recover-async, every field set", .basicRecoverAsync(.init(requeue: true)),
            "01010200000005003c006401ce"),
        .init(
            "basic.recover-async, zero and empty", .basicRecoverAsync(.init(requeue: false)),
            "01010200000005003c006400ce"),
        .init(
            "basic.recover, every field set", .basicRecover(.init(requeue: true)),
            "01010200000005003c006e01ce"),
        .init(
            "basic.recover, zero and empty", .basicRecover(.init(requeue: false)),
            "01010200000005003c006e00ce"),
        .init(
            "basic.recover-ok, no fields", .basicRecoverOk(.init()),
            "01010200000004003c006fce"),
        .init(
            "basic.nack, every field set",
            .basicNack(
                .init(
                    deliveryTag: 0x8192a3b4c5d6e7f8, multiple: true, requeue: true)),
            "0101020000000d003c00788192a3b4c5d6e7f803ce"),
        .init(
            "basic.nack, zero and empty", .basicNack(.init(deliveryTag: 0x0, multiple: false, requeue: false)),
            "0101020000000d003c0078000000000000000000ce"),
        .init(
            "basic.nack, multiple alone", .basicNack(.init(deliveryTag: 0x0, multiple: true, requeue: false)),
            "0101020000000d003c0078000000000000000001ce"),
        .init(
            "basic.nack, requeue alone", .basicNack(.init(deliveryTag: 0x0, multiple: false, requeue: true)),
            "0101020000000d003c0078000000000000000002ce"),
    ]

    static let confirm: [MethodSample] = [
        .init(
            "confirm.select, every field set", .confirmSelect(.init(noWait: true)),
            "010102000000050055000a01ce"),
        .init(
            "confirm.select, zero and empty", .confirmSelect(.init(noWait: false)),
            "010102000000050055000a00ce"),
        .init(
            "confirm.select-ok, no fields", .confirmSelectOk(.init()),
            "010102000000040055000bce"),
    ]

    static let tx: [MethodSample] = [
        .init(
            "tx.select, no fields", .txSelect(.init()),
            "01010200000004005a000ace"),
        .init(
            "tx.select-ok, no fields", .txSelectOk(.init()),
            "01010200000004005a000bce"),
        .init(
            "tx.commit, no fields", .txCommit(.init()),
            "01010200000004005a0014ce"),
        .init(
            "tx.commit-ok, no fields", .txCommitOk(.init()),
            "01010200000004005a0015ce"),
        .init(
            "tx.rollback, no fields", .txRollback(.init()),
            "01010200000004005a001ece"),
        .init(
            "tx.rollback-ok, no fields", .txRollbackOk(.init()),
            "01010200000004005a001fce"),
    ]
}
