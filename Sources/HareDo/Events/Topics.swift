// SPDX-License-Identifier: Apache-2.0

/// Which events a queue gets.
struct Topics: Sendable {
    let exchange: String
    let pattern: String

    /// - Throws: ``HareDoError/Code/invalidArgument`` for a pattern that is not one.
    init(_ pattern: String, exchange: String) throws(HareDoError) {
        try Self.check(pattern, "the pattern")
        for word in pattern.split(separator: ".", omittingEmptySubsequences: false) {
            try ServiceOptions.require(
                word.count == 1 || !word.contains { $0 == "*" || $0 == "#" },
                "the pattern '\(pattern)' is not one: '*' stands for a word and '#' for any number of words, never for a "
                    + "part of one")
        }
        self.exchange = exchange
        self.pattern = pattern
    }

    /// - Throws: ``HareDoError/Code/invalidArgument`` for a topic that is not one.
    static func check(topic: String) throws(HareDoError) {
        try Self.check(topic, "the topic")
        try ServiceOptions.require(
            !topic.contains { $0 == "*" || $0 == "#" },
            "the topic '\(topic)' has a '*' or a '#' in it, which only patterns have")
    }

    private static func check(_ text: String, _ what: String) throws(HareDoError) {
        try ServiceOptions.require(
            text.utf8.count <= 255, "\(what) has \(text.utf8.count) bytes, and AMQP allows a routing key 255")
        try ServiceOptions.require(
            !text.split(separator: ".", omittingEmptySubsequences: false).contains(""),
            "\(what) '\(text)' has an empty word: it is words with dots between them, such as 'orders.created'")
    }
}
