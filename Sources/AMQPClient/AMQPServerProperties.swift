// SPDX-License-Identifier: Apache-2.0
public import AMQPWire

/// What a broker says of itself when a connection begins (`connection.start`).
///
/// All of it is the broker's word: what it did not say is empty, and what it said in another type than usual counts as
/// not said.
public struct AMQPServerProperties: Hashable, Sendable {
    /// What a broker can do beyond AMQP 0-9-1.
    public struct Capabilities: OptionSet, Hashable, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// ``AMQPChannel/confirmSelect()``.
        public static let publisherConfirms = Capabilities(rawValue: 1 << 0)
        /// ``AMQPChannel/bindExchange(_:to:routingKey:arguments:)``.
        public static let exchangeToExchangeBindings = Capabilities(rawValue: 1 << 1)
        /// ``AMQPDelivery/nack(requeue:multiple:)``.
        public static let negativeAcknowledgements = Capabilities(rawValue: 1 << 2)
        /// It tells when it cancels a consumer.
        public static let consumerCancelNotifications = Capabilities(rawValue: 1 << 3)
        /// It tells when it takes no messages for want of memory or disk.
        public static let blockedNotifications = Capabilities(rawValue: 1 << 4)
        /// Argument `x-priority` of ``AMQPChannel/consume(_:consumerTag:acknowledgement:exclusive:arguments:)``.
        public static let consumerPriorities = Capabilities(rawValue: 1 << 5)
        /// It says why it refuses a login.
        public static let authenticationFailureClose = Capabilities(rawValue: 1 << 6)
        /// ``AMQPChannel/QosScope/consumer`` is understood.
        public static let perConsumerPrefetch = Capabilities(rawValue: 1 << 7)
        /// Replies without a queue, through `amq.rabbitmq.reply-to`.
        public static let directReplyTo = Capabilities(rawValue: 1 << 8)

        static let names: [(name: String, capability: Capabilities)] = [
            ("publisher_confirms", .publisherConfirms),
            ("exchange_exchange_bindings", .exchangeToExchangeBindings),
            ("basic.nack", .negativeAcknowledgements),
            ("consumer_cancel_notify", .consumerCancelNotifications),
            ("connection.blocked", .blockedNotifications),
            ("consumer_priorities", .consumerPriorities),
            ("authentication_failure_close", .authenticationFailureClose),
            ("per_consumer_qos", .perConsumerPrefetch),
            ("direct_reply_to", .directReplyTo),
        ]
    }

    /// What it is, such as `RabbitMQ`.
    public let product: String
    /// Its version, such as `4.1.0`.
    public let version: String
    /// What it runs on, such as `Erlang/OTP 27`.
    public let platform: String
    /// The name of its cluster.
    public let clusterName: String
    /// What it can do beyond AMQP 0-9-1.
    public let capabilities: Capabilities

    /// Reads what a broker said.
    public init(_ table: AMQPTable) {
        self.product = table["product"]?.string ?? ""
        self.version = table["version"]?.string ?? ""
        self.platform = table["platform"]?.string ?? ""
        self.clusterName = table["cluster_name"]?.string ?? ""
        var capabilities: Capabilities = []
        if case .table(let said)? = table["capabilities"] {
            for (name, capability) in Capabilities.names where said[name]?.boolean == true {
                capabilities.insert(capability)
            }
        }
        self.capabilities = capabilities
    }
}

extension AMQPConnection {
    /// What the broker said of itself, read. ``serverProperties`` has all of it.
    public var server: AMQPServerProperties { AMQPServerProperties(self.serverProperties) }
}
