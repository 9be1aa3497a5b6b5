// SPDX-License-Identifier: Apache-2.0

/// Something that serves messages: the one method a service has to have. ``Peer/listen(on:as:options:serving:)`` takes it; a
/// closure does as well.
///
/// ```swift
/// struct Increment: Serving {
///     func serve(_ message: Message) async throws -> Reply? {
///         "\((message.headers["i"]?.int ?? 0) + 1)"
///     }
/// }
/// ```
public protocol Serving: Sendable {
    /// How its messages are treated, unless whoever listens with it says otherwise. Default: ``ServiceOptions`` as they are.
    static var options: ServiceOptions { get }

    /// Handles one message, while others may be handled at the same time.
    ///
    /// - Returns: the reply; `nil` if there is none, or it was sent already.
    /// - Throws: a ``ServiceError`` to tell the caller what went wrong; of any other error it is only told that.
    @concurrent func serve(_ message: Message) async throws -> Reply?
}

extension Serving {
    public static var options: ServiceOptions { ServiceOptions() }
}
