// SPDX-License-Identifier: Apache-2.0
public import HareDo

/// A module with something of everything.
public struct FixtureModule: DaemonModule {
    public static let configurationKeys: [String]? = ["words"]

    struct Shout: Plugin {
        static let uuid = "shout"
        init(_ context: PluginContext) {}
        func process(_ message: Message) -> Reply? { "\((message.text ?? "").uppercased())" }
    }

    private let words: [String]

    public init(_ context: ModuleContext) throws {
        self.words = try context.configuration["words"].list.map { word throws(HareDoError) in try word.string }
    }

    public var plugins: [any Plugin.Type] { [Shout.self] }

    public var interceptors: [HandlerInterceptor] {
        [
            HandlerInterceptor { message, next in
                var reply = try await next(message)
                reply?.headers["intercepted"] = true
                return reply
            }
        ]
    }

    public var commands: [ControlCommand] {
        let words = self.words
        return [ControlCommand("words", "Lists the words.") { _ in .list(words.map { .string($0) }) }]
    }

    public func prepare(_ resources: Resources) { resources.add(self.words) }
}

@c(haredo_module_main) public func haredoModuleMain() -> UnsafeRawPointer { exportModule(FixtureModule.self) }
