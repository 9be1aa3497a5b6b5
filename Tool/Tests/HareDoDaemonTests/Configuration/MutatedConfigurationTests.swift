// SPDX-License-Identifier: Apache-2.0
import HareDo
import Testing

@testable import HareDoDaemon

/// Files as people break them.
@Suite("Configuration files with one mistake")
struct MutatedConfigurationTests {
    /// All keys that there are, one to a line.
    private static let valid = """
        system:
          broker:
            host: broker1
            port: 5673
            user: 'haredo'
            password: "secret"
            vhost: /prod
            ssl:
              enable: false
              port: '5671'
            connect_timeout: 5
            unreachable: wait
          database:
            driver: postgresql
            host: db1
            port: 5433
            name: vaquero
            user: root
            password: 'secret'
        daemon:
          queue:
            name: jujifruit
            properties:
              exclusive: false
              auto_delete: false
              durable: true
              arguments: {x-max-length: 1000}
            concurrency: 64
            prefetch: 100
            attempts: 3
          key: b8d96b66-8cae-4e16-b5ec-d607483b061e
          modules: [first/module, second]
          services:
            haredo:
              path_prefix: haredo/plugins
              plugins: [echo, status]
          plugin_path: [/opt/share, /srv/share]
          timeout: 2
          drain_timeout: 7.5
          http: {port: 9180}
          logging:
            level: debug
            format: json
            target: stderr
        """

    private enum Mutation: CaseIterable {
        // What is no configuration any more.
        case misspeltKey, unknownKey, keyTwice, listForValue, mapForValue, wordForNumber, numberTooLarge, wordForFlag
        case wordForChoice, missingColon, missingQuote, tab, lessIndented, moreIndented, controlCharacter, variable
        case brokenBracket
        // What is the same configuration.
        case comment, emptyLine, quotes, spaces
    }

    /// https://prng.di.unimi.it/splitmix64.c
    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            self.state &+= 0x9e37_79b9_7f4a_7c15
            var z = self.state
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }
    }

    private struct Line {
        var indentation: String
        var key: String
        var value: String

        init?(_ text: String) {
            guard let match = text.wholeMatch(of: /( *)([a-z_]+):(?: (.*))?/) else { return nil }
            self.indentation = String(match.1)
            self.key = String(match.2)
            self.value = match.3.map(String.init) ?? ""
        }
        var text: String { self.indentation + self.key + ":" + (self.value.isEmpty ? "" : " " + self.value) }

        var isScalar: Bool { !self.value.isEmpty && self.value.first != "[" && self.value.first != "{" }
        var isQuoted: Bool { self.value.first == "'" || self.value.first == "\"" }
        var isNumber: Bool { Double(self.value) != nil || self.key == "port" }
        var isFlag: Bool { self.value == "true" || self.value == "false" }
        var isChoice: Bool { ["unreachable", "level", "format", "target"].contains(self.key) }
    }

    private static func mutate(_ mutation: Mutation, _ generator: inout Generator) -> String? {
        var lines = Self.valid.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        /// A line that the mutation can be done to.
        func pick(_ isFit: (Line) -> Bool) -> (Int, Line)? {
            lines.enumerated().compactMap { index, text in Line(text).map { (index, $0) } }.filter { isFit($0.1) }
                .randomElement(using: &generator)
        }
        func change(_ isFit: (Line) -> Bool, _ change: (inout Line) -> Void) -> String? {
            guard let (index, fit) = pick(isFit) else { return nil }
            var line = fit
            change(&line)
            lines[index] = line.text
            return lines.joined(separator: "\n")
        }
        func insert(_ isFit: (Line) -> Bool, _ text: (Line) -> String) -> String? {
            guard let (index, line) = pick(isFit) else { return nil }
            lines.insert(text(line), at: index)
            return lines.joined(separator: "\n")
        }
        switch mutation {
        case .misspeltKey:
            return change {
                $0.key != "haredo"
            } _: {
                let at = $0.key.indices.randomElement(using: &generator) ?? $0.key.startIndex
                $0.key.insert("q", at: at)
            }
        case .unknownKey:
            return insert {
                $0.key != "haredo"
            } _: {
                $0.indentation + "speed: 9"
            }
        case .keyTwice: return insert(\.isScalar) { $0.text }
        case .listForValue:
            return change {
                $0.isScalar
            } _: {
                $0.value = "[[1]]"
            }
        case .mapForValue:
            return change {
                $0.isScalar
            } _: {
                $0.value = "{a: b}"
            }
        case .wordForNumber: return change(\.isNumber) { $0.value = "many" }
        case .numberTooLarge:
            return change {
                $0.isNumber && $0.value != "1000"
            } _: {
                $0.value = "99999999"
            }
        case .wordForFlag: return change(\.isFlag) { $0.value = "sometimes" }
        case .wordForChoice: return change(\.isChoice) { $0.value += "x" }
        case .missingColon:
            guard let (index, line) = pick({ $0.key != "haredo" }) else { return nil }
            lines[index] = line.indentation + line.key + " " + line.value
            return lines.joined(separator: "\n")
        case .missingQuote: return change(\.isQuoted) { $0.value.removeLast() }
        case .tab:
            guard let (index, line) = pick({ !$0.indentation.isEmpty }) else { return nil }
            lines[index] = "\t" + line.text
            return lines.joined(separator: "\n")
        case .lessIndented:
            return change {
                $0.indentation.count >= 2
            } _: {
                $0.indentation.removeLast()
            }
        case .moreIndented: return change(\.isScalar) { $0.indentation += " " }
        case .controlCharacter: return change(\.isScalar) { $0.value += "\u{1}" }
        case .variable: return change(\.isScalar) { $0.value = "${HAREDO_NOT_THERE}" }
        case .brokenBracket:
            return change {
                $0.value.first == "[" || $0.value.first == "{"
            } _: {
                $0.value.removeLast()
            }
        case .comment:
            return insert { _ in
                true
            } _: {
                $0.indentation + "# what follows is meant so"
            }
        case .emptyLine:
            return insert { _ in
                true
            } _: { _ in
                ""
            }
        case .quotes:
            return change {
                $0.isScalar && !$0.isQuoted
            } _: {
                $0.value = "\"" + $0.value + "\""
            }
        case .spaces:
            return change {
                $0.isScalar
            } _: {
                $0.value += "   # so"
            }
        }
    }

    @Test("500 of them: an error with line and column, or what was meant; most of them an error")
    func mutations() throws {
        let meant = try DaemonConfiguration(text: Self.valid, file: "haredo.conf", environment: [:])
        #expect(meant.warnings.isEmpty)
        var generator = Generator(state: 2026)
        var invalid = 0
        var kinds: Set<Mutation> = []
        for number in 0..<500 {
            let mutation = Mutation.allCases[number % Mutation.allCases.count]
            guard let text = Self.mutate(mutation, &generator) else {
                Issue.record("there is no line for \(mutation)")
                continue
            }
            kinds.insert(mutation)
            do {
                let read = try DaemonConfiguration(text: text, file: "haredo.conf", environment: [:])
                #expect(read == meant, "\(mutation) means something else:\n\(text)")
            } catch {
                invalid += 1
                #expect(!error.all.isEmpty)
                #expect(error.all.allSatisfy { $0.line > 0 && $0.column > 0 }, "\(mutation): \(error)")
            }
        }
        print("ledger: 500 configuration files with one of \(kinds.count) kinds of mistakes, \(invalid) refused")
        #expect(kinds.count >= 12)
        #expect(invalid >= 400)
    }
}
