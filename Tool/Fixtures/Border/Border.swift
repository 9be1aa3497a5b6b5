// SPDX-License-Identifier: Apache-2.0
public import HareDo

/// Shows what works across the border between a program and its plugins: each message names what is tried.
public struct Border: Plugin {
    public static let uuid = "border"
    public static let version: String? = "7"
    public static let configurationKeys: [String]? = ["greeting"]

    private actor Counter {
        private var count = 0
        func next() -> Int {
            self.count += 1
            return self.count
        }
    }

    private let context: PluginContext
    private let counter = Counter()

    public init(_ context: PluginContext) { self.context = context }

    public func process(_ message: Message) async throws -> Reply? {
        switch message.text {
        case "greeting": return "\(try self.context.configuration["greeting"].string)"
        case "service error": throw ServiceError("from-plugin", "a typed error", isFinal: true)
        case "typed":
            // An error of the program's HareDo is caught here as what it is.
            do throws(HareDoError) {
                _ = try await self.context.peer.call("nobody-\(self.context.peer.name)", timeout: .seconds(10))
                return "no error"
            } catch {
                return error.code == .noSuchService ? "caught" : "another"
            }
        case "cast":
            let value: Any = message
            let plugin: Any = self
            return (value as? Message) != nil && (plugin as? any Plugin) != nil ? "cast" : "not cast"
        case "actor":
            let counter = self.counter
            let numbers = await withTaskGroup(of: Int.self) { group in
                for _ in 0..<100 { group.addTask { await counter.next() } }
                return await group.reduce(into: Set()) { $0.insert($1) }
            }
            return "\(numbers.count)"
        case "deadline":
            // The task local of the program's HareDo that limits what a handler calls.
            let reply = try await self.context.peer.call(
                self.context.peer.name, headers: ["uuid": "deadline"], timeout: .seconds(3600))
            return "\(reply?.text ?? "no reply")"
        case "log":
            Logger(label: "made-in-plugin").notice("a line from the plugin")
            return "logged"
        case "resource": return "\(try self.context.resources[[String].self].joined(separator: "+"))"
        default: return Reply(message.data)
        }
    }

    public func finalize() async { self.context.logger.notice("border is gone") }
}

@c(haredo_plugin_main) public func haredoPluginMain() -> UnsafeRawPointer { exportPlugin(Border.self) }
