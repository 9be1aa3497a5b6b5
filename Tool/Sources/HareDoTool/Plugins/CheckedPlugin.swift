// SPDX-License-Identifier: Apache-2.0
import HareDo

/// What became of loading a library.
struct CheckedPlugin: Encodable {
    var file: String
    /// `plugin` or `module`, if it can be loaded.
    var kind: String?
    var uuid: String?
    var version: String?
    var configurationKeys: [String]?
    var abi = PluginLoader.abi
    var compiler = PluginLoader.compiler
    /// Why it cannot be loaded: a name for programs, and a sentence for people.
    var reason: String?
    var problem: String?

    init(file: String) {
        self.file = file
        do throws(HareDoError) {
            let library = try Self.load(file)
            if let plugin = library.plugin {
                self.kind = "plugin"
                self.uuid = plugin.uuid
                self.version = plugin.version
                self.configurationKeys = plugin.configurationKeys
            } else {
                self.kind = "module"
                self.configurationKeys = library.module?.configurationKeys
            }
        } catch {
            self.reason = error.refusal?.reason.rawValue ?? "\(error.code)"
            self.problem = error.message
        }
    }

    /// As whatever it is.
    private static func load(_ file: String) throws(HareDoError) -> PluginLoader.Library {
        do throws(HareDoError) {
            return try PluginLoader.load(file: file)
        } catch {
            guard error.refusal?.reason == .otherKind else { throw error }
            return try PluginLoader.load(file: file, as: .module)
        }
    }

    var text: String {
        if let reason, let problem { return "cannot be loaded (\(reason)): \(problem)" }
        var rows = [["kind", self.kind ?? ""]]
        if let uuid { rows.append(["uuid", uuid]) }
        if let version { rows.append(["version", version]) }
        rows.append(["configuration", self.configurationKeys.map { $0.sorted().joined(separator: ", ") } ?? "any keys"])
        rows += [["abi", "\(self.abi)"], ["compiler", self.compiler]]
        return "can be loaded\n" + Columns.aligned(rows.filter { $0[1] != "" }).joined(separator: "\n")
    }
}
