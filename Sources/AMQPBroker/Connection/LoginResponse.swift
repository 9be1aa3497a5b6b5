// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// The user name and password in a client's answer to `connection.start`.
struct LoginResponse {
    /// The ways to log in, as they are offered.
    enum Mechanism: String, CaseIterable {
        case plain = "PLAIN"
        /// RabbitMQ's own.
        case amqplain = "AMQPLAIN"
    }

    let user: String
    let password: [UInt8]

    /// - Returns: `nil` if it is not what the mechanism asks for.
    init?(_ mechanism: Mechanism, _ response: AMQPLongString) {
        switch mechanism {
        // RFC 4616: identity, NUL, name, NUL, password.
        case .plain:
            let parts = response.bytes.split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, let user = String(validating: parts[1], as: UTF8.self) else { return nil }
            self.user = user
            self.password = Array(parts[2])
        // A field table without the length in front of it.
        case .amqplain:
            var bytes = ByteBuffer()
            bytes.writeInteger(UInt32(clamping: response.bytes.count))
            bytes.writeBytes(response.bytes)
            guard let table = try? AMQPTable(decoding: bytes), let user = table["LOGIN"]?.string,
                case .longString(let password) = table["PASSWORD"]
            else { return nil }
            self.user = user
            self.password = Array(password.bytes)
        }
    }
}
