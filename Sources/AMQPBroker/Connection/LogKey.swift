// SPDX-License-Identifier: Apache-2.0

/// Keys of log metadata, in one place.
enum LogKey {
    static let connection = "amqp.connection.id"
    static let connectionName = "amqp.connection.name"
    static let peerAddress = "net.peer.address"
    static let channel = "amqp.channel.id"
    static let virtualHost = "amqp.vhost"
    static let user = "amqp.user"
    static let method = "amqp.method"
    static let queue = "amqp.queue"
    static let replyCode = "amqp.reply.code"
    static let replyText = "amqp.reply.text"
    static let error = "error"
}
