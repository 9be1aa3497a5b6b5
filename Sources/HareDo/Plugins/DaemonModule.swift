// SPDX-License-Identifier: Apache-2.0

/// Extends the daemon: with resources for plugins, with interceptors around every handler, with plugins, and with
/// commands for its operator. It is made before any plugin is loaded, and is either part of the program or a shared
/// library, with one line more:
///
/// ```swift
/// @c(haredo_module_main) public func main() -> UnsafeRawPointer { exportModule(DatabaseModule.self) }
/// ```
///
/// All but its initialiser has a default.
public protocol DaemonModule: Sendable {
    /// The keys that its configuration may have: another one is an error that names it. Default: `nil`, any.
    static var configurationKeys: [String]? { get }

    /// Makes it, from its configuration.
    ///
    /// - Throws: whatever keeps it from working.
    init(_ context: ModuleContext) async throws

    /// Plugins it brings, which may then be loaded by their uuids as if they were part of the program.
    var plugins: [any Plugin.Type] { get }

    /// Around every handler of the daemon's services, this module's after those of modules that are named before it.
    var interceptors: [HandlerInterceptor] { get }

    /// What an operator may ask of the running daemon.
    var commands: [ControlCommand] { get }

    /// Adds what plugins may need. Nothing is connected yet.
    ///
    /// - Throws: whatever keeps it from working; the daemon does not start then.
    func prepare(_ resources: Resources) async throws

    /// The daemon's peer is connected and its plugins are loaded.
    ///
    /// - Throws: whatever keeps it from working; the daemon ends then.
    func start(_ peer: Peer) async throws

    /// The daemon ends: its plugins are gone, and modules are finalised in reverse order. It is called once for each that
    /// was made, even if the daemon did not get as far as to start it.
    func finalize() async
}

extension DaemonModule {
    public static var configurationKeys: [String]? { nil }
    public var plugins: [any Plugin.Type] { [] }
    public var interceptors: [HandlerInterceptor] { [] }
    public var commands: [ControlCommand] { [] }
    public func prepare(_ resources: Resources) async throws {}
    public func start(_ peer: Peer) async throws {}
    public func finalize() async {}
}

/// What a module is made from.
public struct ModuleContext: Sendable {
    /// What it was loaded as.
    public let name: String
    /// Its configuration.
    public let configuration: ConfigurationReader
    /// Says in each line whose it is.
    public let logger: Logger

    /// A context: for a module's own tests.
    public init(name: String, configuration: ConfigurationValue = [:], logger: Logger = Logger(label: "haredo")) {
        self.name = name
        self.configuration = ConfigurationReader(configuration, of: "module '\(name)'")
        var logger = logger
        logger[metadataKey: "module"] = "\(name)"
        self.logger = logger
    }
}

/// Something an operator may ask of a running daemon: a name, and what it does with its arguments.
public struct ControlCommand: Sendable {
    /// What does it.
    public typealias Run =
        @concurrent @Sendable (_ arguments: [String: ConfigurationValue]) async throws ->
        ConfigurationValue

    /// Letters, digits, `-` and `_`.
    public let name: String
    /// One line for people.
    public let summary: String
    let run: Run

    /// - Parameter run: gets the arguments by their names. What it returns is shown to the operator; what it throws, too.
    public init(_ name: String, _ summary: String, run: @escaping Run) {
        self.name = name
        self.summary = summary
        self.run = run
    }

    /// Does it.
    public func callAsFunction(_ arguments: [String: ConfigurationValue] = [:]) async throws -> ConfigurationValue {
        try await self.run(arguments)
    }
}
