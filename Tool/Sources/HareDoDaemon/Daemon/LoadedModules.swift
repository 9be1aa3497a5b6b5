// SPDX-License-Identifier: Apache-2.0
import HareDo

/// The daemon's modules, in the order of loading.
struct LoadedModules: Sendable {
    private var all: [(name: String, module: any DaemonModule)] = []

    /// None.
    init() {}

    /// Loads and makes them.
    ///
    /// - Parameter report: gets a line for each.
    /// - Throws: if one of them cannot be made: plugins may rely on what it brings. Those before it are finalised.
    init(
        _ settings: [PluginSettings], from searchPath: PluginSearchPath, logger: Logger,
        report: @Sendable (String) -> Void
    ) async throws(DaemonFailure) {
        var searchPath = searchPath
        searchPath.prefix = ""
        let loader = PluginLoader(searchPath: searchPath)
        for settings in settings {
            do {
                let library = try loader.load(settings.name, as: .module)
                guard let type = library.module else { throw DaemonFailure("'\(library.path)' is no module") }
                let context = ModuleContext(name: settings.name, configuration: settings.configuration, logger: logger)
                if let keys = type.configurationKeys { try context.configuration.allow(keys: keys) }
                self.all.append((settings.name, try await type.init(context)))
                report("module '\(settings.name)': loaded (\(library.path))")
            } catch {
                await self.finalize()
                throw DaemonFailure(error, of: settings.name)
            }
        }
    }

    /// Around the daemon's handler.
    var interceptors: [HandlerInterceptor] { self.all.flatMap(\.module.interceptors) }

    /// What an operator may ask for.
    var commands: [ControlCommand] { self.all.flatMap(\.module.commands) }

    /// Before anything is connected: what plugins may need, and plugins of their own.
    func prepare(_ plugins: Plugins) async throws(DaemonFailure) {
        try await self.each { module in
            try await module.prepare(plugins.resources)
            for plugin in module.plugins { plugins.link(plugin) }
        }
    }

    /// When everything else is there.
    func start(_ peer: Peer) async throws(DaemonFailure) {
        try await self.each { module in try await module.start(peer) }
    }

    func finalize() async {
        for (_, module) in self.all.reversed() { await module.finalize() }
    }

    private func each(_ body: (any DaemonModule) async throws -> Void) async throws(DaemonFailure) {
        for (name, module) in self.all {
            do {
                try await body(module)
            } catch {
                throw DaemonFailure(error, of: name)
            }
        }
    }
}
