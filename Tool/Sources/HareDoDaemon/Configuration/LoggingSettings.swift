// SPDX-License-Identifier: Apache-2.0
public import HareDo

/// What the daemon logs, how and where.
public struct LoggingSettings: Sendable, Hashable {
    /// A line of text, or a JSON object, for each event.
    public enum Format: Sendable, Hashable { case text, json }
    /// `standard`: on standard error. `syslog`: to the journal, or else /dev/log.
    public enum Target: Sendable, Hashable { case standard, syslog }

    /// Nothing below it.
    public var level: Logger.Level = .info
    /// How.
    public var format: Format = .text
    /// Where to.
    public var target: Target = .standard

    static func read(_ map: MapReader) -> LoggingSettings {
        var settings = LoggingSettings()
        if let level = map.choice("level", Logger.Level.allCases.map { ($0.rawValue, $0) }) { settings.level = level }
        if let format = map.choice("format", [("text", Format.text), ("json", .json)]) { settings.format = format }
        if let target = map.choice("target", [("stderr", Target.standard), ("syslog", .syslog)]) {
            settings.target = target
        }
        map.finish()
        return settings
    }
}
