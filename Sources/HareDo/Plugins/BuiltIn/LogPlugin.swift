// SPDX-License-Identifier: Apache-2.0

/// Writes the text of messages to the log, so that several programs have one. The header `level` of a message says how
/// important it is: `trace`, `debug`, `info`, `notice`, `warning`, `error` or `critical`.
///
/// Its configuration: `level`, for messages that do not say (default `info`), and `maximumBytes`, what is cut from longer
/// ones (default 4096).
public struct LogPlugin: Plugin {
    public static let uuid = "log"
    public static let configurationKeys: [String]? = ["level", "maximumBytes"]

    private let logger: Logger
    private let level: Logger.Level
    private let maximumBytes: Int

    public init(_ context: PluginContext) throws {
        self.logger = context.logger
        let configuration = context.configuration
        self.level = try configuration["level"].ifPresent?.decode(Logger.Level.self) ?? .info
        self.maximumBytes = try configuration["maximumBytes"].ifPresent?.integer ?? 4096
    }

    public func process(_ message: Message) -> Reply? {
        let level = message.headers["level"]?.string.flatMap { Logger.Level(rawValue: $0) } ?? self.level
        var metadata: Logger.Metadata = [:]
        // Only what the broker has verified: everything else may be forged.
        if let sender = message.verifiedSender { metadata["sender"] = "\(sender)" }
        self.logger.log(
            level: level, "\(WireHeaders.cut(message.text ?? "a body that is not text", to: self.maximumBytes))",
            metadata: metadata)
        return nil
    }
}
