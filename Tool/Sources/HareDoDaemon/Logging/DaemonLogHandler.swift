// SPDX-License-Identifier: Apache-2.0
public import HareDo

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Writes the daemon's log as its configuration says: as text or as JSON, to standard error or to syslog.
public struct DaemonLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var logLevel: Logger.Level
    private let label: String
    private let settings: LoggingSettings

    /// - Parameter label: the logger's.
    public init(label: String, _ settings: LoggingSettings) {
        self.label = label
        self.settings = settings
        self.logLevel = settings.level
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        let metadata = self.metadata.merging(event.metadata ?? [:]) { $1 }
        let line =
            switch self.settings.format {
            case .text: self.text(event.level, "\(event.message)", metadata)
            case .json: self.json(event.level, "\(event.message)", metadata)
            }
        switch self.settings.target {
        case .standard: Self.write(line + "\n")
        case .syslog: Syslog.write(event.level, line)
        }
    }

    private func text(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata) -> String {
        // Syslog has time and level of its own.
        var line = self.settings.target == .syslog ? "" : "\(WallClock.text()) \(level.rawValue) "
        line += "\(self.label): \(message)"
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(value)" }
        // One line each, whatever somebody sent.
        return String(String.UnicodeScalarView(line.unicodeScalars.map { $0.value < 32 || $0.value == 127 ? " " : $0 }))
    }

    private func json(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata) -> String {
        var fields = Dictionary(uniqueKeysWithValues: metadata.map { ($0.key, "\($0.value)") })
        fields["time"] = WallClock.text()
        fields["level"] = level.rawValue
        fields["label"] = self.label
        fields["message"] = message
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(fields)).map { String(decoding: $0, as: UTF8.self) } ?? message
    }

    private static func write(_ line: String) {
        let bytes = Array(line.utf8)
        bytes.withUnsafeBytes { buffer in
            #if canImport(Glibc)
                _ = Glibc.write(2, buffer.baseAddress, buffer.count)
            #elseif canImport(Musl)
                _ = Musl.write(2, buffer.baseAddress, buffer.count)
            #else
                _ = Darwin.write(2, buffer.baseAddress, buffer.count)
            #endif
        }
    }
}
