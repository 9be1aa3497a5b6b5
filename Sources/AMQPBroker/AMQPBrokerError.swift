// SPDX-License-Identifier: Apache-2.0

/// Why an embedded broker could not be started.
public struct AMQPBrokerError: Error, Sendable, CustomStringConvertible {
    /// What kind of fault it was. More may be added.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Name: String {
            case addressInUse, cannotListen, invalidConfiguration
        }
        private let name: Name
        private init(_ name: Name) { self.name = name }

        /// Somebody listens on the address already.
        public static let addressInUse = Code(.addressInUse)
        /// The address cannot be listened on for another reason, which is the cause.
        public static let cannotListen = Code(.cannotListen)
        /// A value of the configuration contradicts the protocol.
        public static let invalidConfiguration = Code(.invalidConfiguration)

        public var description: String { self.name.rawValue }
    }

    /// What kind of failure it was.
    public var code: Code
    /// What was wrong, for people.
    public var message: String
    /// The error of the operating system, if there was one.
    public var cause: (any Error)?

    /// An error with its message, and what is behind it.
    public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    public var description: String {
        guard let cause else { return "\(self.code): \(self.message)" }
        return "\(self.code): \(self.message) (\(cause))"
    }
}
