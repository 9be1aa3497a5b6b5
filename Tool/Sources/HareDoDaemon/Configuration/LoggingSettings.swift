// SPDX-License-Identifier: Apache-2.0
public import HareDo

/// What the daemon logs, how and where.
public struct LoggingSettings: Sendable, Hashable {
    public enum Format: Sendable, Hashable { case text, json }
    /// `standard`: on standard error. `syslog`: to the journal, or else /dev/log.
    public enum Target: Sendable, Hashable { case standard, syslog }

    public var level: Logger.Level = .info
    public var format: Format = .text
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

/// Where health and metrics are served over HTTP.
public struct HealthSettings: Sendable, Hashable {
    /// On loopback unless said otherwise.
    public var host = "127.0.0.1"
    public var port: Int

    static func read(_ map: MapReader) -> HealthSettings? {
        let port = map.number("port", in: 1...65535)
        if port == nil, !map.has("port") { map.error("port", "is missing") }
        var settings = port.map { HealthSettings(port: $0) }
        if let host = map.text("host") { settings?.host = host }
        map.finish()
        return settings
    }
}

/// A database that modules and plugins may use.
public struct DatabaseSettings: Sendable, Hashable {
    public var driver: String?
    public var host = "localhost"
    public var port: Int?
    public var name: String?
    public var user: String?
    public var password: String?

    static func read(_ map: MapReader) -> DatabaseSettings {
        var settings = DatabaseSettings(
            driver: map.text("driver"), port: map.number("port", in: 1...65535), name: map.text("name"),
            user: map.text("user"), password: map.text("password"))
        if let host = map.text("host") { settings.host = host }
        map.finish()
        return settings
    }
}
