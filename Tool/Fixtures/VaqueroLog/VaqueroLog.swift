// SPDX-License-Identifier: Apache-2.0
public import HareDo

/// The plugin of the original's example: it writes what it gets into a database that a module connects it to. With the
/// header `read` it replies with what is there.
public struct VaqueroLog: Plugin {
    typealias Query = @Sendable (String, [String]) throws -> [[String]]
    typealias ConnectDb = @Sendable ([String: ConfigurationValue]) throws -> Query

    public static let uuid = "log"
    public static let configurationKeys: [String]? = ["db"]

    private let query: Query

    public init(_ context: PluginContext) throws {
        let connect = try context.resources[ConnectDb.self]
        self.query = try connect(try context.configuration["db"].decode([String: ConfigurationValue].self))
        _ = try self.query("create table if not exists log (message text not null)", [])
    }

    public func process(_ message: Message) throws -> Reply? {
        guard message.headers["read"] == nil else {
            return "\(try self.query("select message from log order by rowid", []).joined().joined(separator: ","))"
        }
        _ = try self.query("insert into log values (?)", [message.text ?? ""])
        return "logged"
    }
}

@c(haredo_plugin_main) public func haredoPluginMain() -> UnsafeRawPointer { exportPlugin(VaqueroLog.self) }
