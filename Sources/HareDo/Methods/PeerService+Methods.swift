// SPDX-License-Identifier: Apache-2.0

extension PeerService {
    /// Adds a method that is called by its name: ``Peer/call(_:method:headers:encoding:as:timeout:)``.
    ///
    /// ```swift
    /// let service = try await peer.listen(on: "calculator", as: .shared)
    /// try service.handle("add") { (numbers: Numbers) in Total(sum: numbers.a + numbers.b) }
    /// try await service.run()
    /// ```
    ///
    /// What arrives waits until ``run()`` is called, so that no method is missing when the first call comes. A body that is
    /// not an `Input` is answered with an error that names field and type, and never reaches the handler; so is the name
    /// of a method that there is not.
    ///
    /// - Throws: ``HareDoError/Code/invalidArgument`` if there is a method of this name, if the service has a handler for
    ///   all of its messages, or if it runs.
    public func handle<Input: Decodable & Sendable, Output: Encodable & Sendable>(
        _ method: String, _ handler: @escaping @concurrent @Sendable (Input) async throws -> Output
    ) throws(HareDoError) {
        try self.handle(method) { (input: Input, _) in try await handler(input) }
    }

    /// Adds a method that sees the message it is called with. Otherwise as `handle`.
    public func handle<Input: Decodable & Sendable, Output: Encodable & Sendable>(
        _ method: String, _ handler: @escaping @concurrent @Sendable (Input, Message) async throws -> Output
    ) throws(HareDoError) {
        try self.core.add(method) { message in
            let output = try await handler(try message.decode(Input.self), message)
            return try Reply(output, in: message.storage.format)
        }
    }

    /// Adds a method whose callers need no answer but that it is done. Otherwise as
    /// `handle`.
    public func handle<Input: Decodable & Sendable>(
        _ method: String, _ handler: @escaping @concurrent @Sendable (Input) async throws -> Void
    ) throws(HareDoError) {
        try self.core.add(method) { message in
            try await handler(try message.decode(Input.self))
            return Reply()
        }
    }
}
