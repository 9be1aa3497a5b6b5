// SPDX-License-Identifier: Apache-2.0

/// Replies with what it got: body, headers of the sender's own, and content type. To see whether somebody is there.
///
/// Its configuration may be anything, as that of the original's.
public struct EchoPlugin: Plugin {
    public static let uuid = "echo"

    public init(_ context: PluginContext) {}

    public func process(_ message: Message) -> Reply? {
        var reply = Reply(message.data, headers: message.headers)
        reply.contentType = message.contentType
        return reply
    }
}
