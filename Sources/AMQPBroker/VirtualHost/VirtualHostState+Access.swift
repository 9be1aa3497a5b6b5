// SPDX-License-Identifier: Apache-2.0

/// Who may do what (RabbitMQ's access control).
extension VirtualHostState {
    enum Resource {
        case queue(String)
        case exchange(String)

        /// As permissions name it.
        var name: String {
            switch self {
            case .queue(let name): name
            case .exchange(let name): name.isEmpty ? "amq.default" : name
            }
        }
    }

    /// - Throws: ``BrokerException`` 403 if the channel's user may not.
    mutating func authorize(
        _ operation: AccessList.Operation, _ resource: Resource, on channel: ChannelID
    ) throws(BrokerException) {
        guard !self.isAllowed(operation, resource, on: channel) else { return }
        let description =
            switch resource {
            case .queue: self.describe(queue: resource.name)
            case .exchange: self.describe(exchange: resource.name)
            }
        let user = self.channels[channel]?.user ?? ""
        // RabbitMQ says which of the three since 3.12.
        let operation = self.settings.compatibility == .strict ? "\(operation.rawValue) " : ""
        throw .accessRefused("\(operation)access to \(description) refused for user '\(user)'")
    }

    /// Asking whether something is there needs any permission for it; before 4.0 it needed none.
    mutating func authorizeLook(at resource: Resource, on channel: ChannelID) throws(BrokerException) {
        guard self.settings.compatibility == .strict, !self.settings.access.isOpen,
            !self.isAllowed(.write, resource, on: channel), !self.isAllowed(.read, resource, on: channel)
        else { return }
        try self.authorize(.configure, resource, on: channel)
    }

    private mutating func isAllowed(
        _ operation: AccessList.Operation, _ resource: Resource, on channel: ChannelID
    ) -> Bool {
        guard !self.settings.access.isOpen else { return true }
        let question = PermissionCache.Question(
            user: self.channels[channel]?.user ?? "", operation: operation, name: resource.name)
        let (access, virtualHost) = (self.settings.access, self.name)
        return self.permitted.answer(question) {
            access.permissions(of: question.user, in: virtualHost)?.allows(operation, question.name) ?? false
        }
    }
}
