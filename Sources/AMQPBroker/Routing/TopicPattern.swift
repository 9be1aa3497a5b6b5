// SPDX-License-Identifier: Apache-2.0

/// The routing pattern of a topic binding: words between dots, `*` for one word, `#` for any number, none included.
struct TopicPattern: Hashable, Sendable {
    private enum Word: Hashable, Sendable {
        case literal(Substring)
        case one
        case any
    }

    private let words: [Word]

    init(_ pattern: String) {
        var words: [Word] = []
        for word in Self.words(of: pattern) {
            switch word {
            case "*": words.append(.one)
            // Two of them in a row mean the same as one.
            case "#": if words.last != .any { words.append(.any) }
            default: words.append(.literal(word))
            }
        }
        self.words = words
    }

    /// Whether the pattern matches one key only, which is then the pattern itself.
    var isLiteral: Bool {
        self.words.allSatisfy { if case .literal = $0 { true } else { false } }
    }

    /// The words of a routing key. An empty key has none (RabbitMQ's reading), and between two dots is an empty word.
    static func words(of key: String) -> [Substring] {
        key.isEmpty ? [] : key.split(separator: ".", omittingEmptySubsequences: false)
    }

    /// Never slower than the product of both lengths: only the last `#` is ever tried again.
    func matches(_ key: [Substring]) -> Bool {
        var position = 0
        var index = 0
        var retry: (word: Int, position: Int)?
        while position < key.count {
            if index < self.words.count {
                switch self.words[index] {
                case .any:
                    retry = (index, position)
                    index += 1
                    continue
                case .one:
                    index += 1
                    position += 1
                    continue
                case .literal(let word) where word == key[position]:
                    index += 1
                    position += 1
                    continue
                case .literal: break
                }
            }
            // The last `#` takes one word more.
            guard let (word, start) = retry else { return false }
            retry = (word, start + 1)
            index = word + 1
            position = start + 1
        }
        return self.words[index...].allSatisfy { $0 == .any }
    }
}
