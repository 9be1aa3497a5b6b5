// SPDX-License-Identifier: Apache-2.0

/// A way to log in (SASL, specification 2.2.4). The broker says which ones it takes.
public enum AMQPSASLMechanism: String, Sendable, CaseIterable {
    /// User and password. Every RabbitMQ takes it.
    case plain = "PLAIN"
    /// User and password too, as a field table: RabbitMQ's, from before PLAIN.
    case amqplain = "AMQPLAIN"
    /// The user is whom the client's certificate names.
    case external = "EXTERNAL"
}
