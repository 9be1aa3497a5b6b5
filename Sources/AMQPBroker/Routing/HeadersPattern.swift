// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// The arguments of a headers binding.
struct HeadersPattern: Hashable, Sendable {
    private let matchesAll: Bool
    private let wanted: [AMQPTable.Entry]

    /// - Throws: ``BrokerException`` 406 for an `x-match` that is none of RabbitMQ's four.
    init(_ arguments: AMQPTable) throws(BrokerException) {
        let mode: String
        switch arguments["x-match"] {
        case nil: mode = "all"
        case let value?:
            guard let name = value.string else {
                throw .preconditionFailed(
                    "Invalid x-match field type \(value.erlangType) (value \(value.erlangValue)); expected longstr")
            }
            mode = name
        }
        let includesX: Bool
        switch mode {
        case "all", "any": includesX = false
        case "all-with-x", "any-with-x": includesX = true
        default:
            throw .preconditionFailed(
                "Invalid x-match field value <<\"\(mode)\">>; expected all, any, all-with-x, or any-with-x")
        }
        self.matchesAll = mode.hasPrefix("all")
        self.wanted = arguments.entries.filter { $0.key != "x-match" && (includesX || !$0.key.hasPrefix("x-")) }
    }

    /// No conditions match everything with `all`, and nothing with `any`.
    func matches(_ headers: AMQPTable) -> Bool {
        func holds(_ entry: AMQPTable.Entry) -> Bool {
            guard let value = headers[entry.key] else { return false }
            // A void value asks only that the header is there.
            if entry.value == .void { return true }
            return Optional(value).isEquivalent(to: entry.value)
        }
        return self.matchesAll ? self.wanted.allSatisfy(holds) : self.wanted.contains(where: holds)
    }
}
