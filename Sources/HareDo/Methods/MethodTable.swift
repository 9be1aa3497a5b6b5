// SPDX-License-Identifier: Apache-2.0

/// The named methods of a service.
struct MethodTable: Sendable {
    typealias Handler = @concurrent @Sendable (Message) async throws -> Reply?

    private var handlers: [String: Handler] = [:]

    var isEmpty: Bool { self.handlers.isEmpty }
    var names: [String] { self.handlers.keys.sorted() }

    static let longestName = 255

    mutating func add(_ name: String, of queue: String, _ handler: @escaping Handler) throws(HareDoError) {
        try ServiceOptions.require(!name.isEmpty, "the name of a method of '\(queue)' is empty")
        try ServiceOptions.require(
            name.utf8.count <= Self.longestName,
            "the name of a method of '\(queue)' has \(name.utf8.count) bytes; at most \(Self.longestName)")
        try ServiceOptions.require(
            self.handlers[name] == nil, "the service '\(queue)' has a method '\(name)' already")
        self.handlers[name] = handler
    }

    enum Lookup {
        case handler(Handler)
        /// What to tell whoever asked.
        case none(HareDoError.RemoteFailure)
    }

    /// - Parameter name: as the message says it; `nil` if it does not.
    func lookup(_ name: String?, of queue: String) -> Lookup {
        if let name, let handler = self.handlers[name] { return .handler(handler) }
        let known = "it has " + self.names.map { "'\($0)'" }.joined(separator: ", ")
        let text =
            if let name {
                "the service '\(queue)' has no method '\(WireHeaders.cut(name, to: Self.longestName))': \(known)"
            } else {
                "the call does not say which method of '\(queue)' it means: \(known)"
            }
        return .none(HareDoError.RemoteFailure(code: HareDoError.RemoteFailure.noSuchMethod, text: text))
    }
}
