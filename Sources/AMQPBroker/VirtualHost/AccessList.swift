// SPDX-License-Identifier: Apache-2.0

/// Users, their passwords and permissions.
struct AccessList: Sendable {
    enum Operation: String, Sendable {
        case configure, write, read
    }

    private let users: [String: AMQPEmbeddedBroker.User]
    /// Nobody is kept from anything: no name has to be matched.
    let isOpen: Bool

    /// Without users there is nobody to be kept out: for tests without connections.
    init(_ users: [String: AMQPEmbeddedBroker.User] = [:]) {
        self.users = users
        self.isOpen = users.values.allSatisfy { $0.permissions == nil }
    }

    /// Whether user and password are right. Takes as long for a password that is nearly right as for any other.
    func authenticates(_ user: String, password: some Collection<UInt8>) -> Bool {
        guard let expected = self.users[user]?.password.utf8, expected.count == password.count else { return false }
        return zip(expected, password).reduce(into: UInt8(0)) { $0 |= $1.0 ^ $1.1 } == 0
    }

    func permissions(of user: String, in virtualHost: String) -> AMQPEmbeddedBroker.Permissions? {
        guard let user = self.users[user] else { return self.users.isEmpty ? .all : nil }
        guard let permissions = user.permissions else { return .all }
        return permissions[virtualHost]
    }

    /// A pattern that is no regular expression, with the user who has it.
    var invalidPattern: (user: String, pattern: String)? {
        for (name, user) in self.users {
            for permissions in user.permissions?.values ?? [:].values {
                for pattern in [permissions.configure, permissions.write, permissions.read]
                where (try? Regex(pattern)) == nil {
                    return (name, pattern)
                }
            }
        }
        return nil
    }
}

extension AMQPEmbeddedBroker.Permissions {
    func allows(_ operation: AccessList.Operation, _ name: String) -> Bool {
        let pattern: String
        switch operation {
        case .configure: pattern = self.configure
        case .write: pattern = self.write
        case .read: pattern = self.read
        }
        if pattern == ".*" { return true }
        if pattern.isEmpty { return name.isEmpty }
        guard let expression = try? Regex(pattern) else { return false }
        return name.firstMatch(of: expression) != nil
    }
}

/// What users may do, as far as it was asked: compiling a regular expression costs more than a publish.
struct PermissionCache: Sendable {
    struct Question: Hashable, Sendable {
        let user: String
        let operation: AccessList.Operation
        let name: String
    }

    private var answers: [Question: Bool] = [:]
    /// Names come from clients.
    private static let limit = 4096

    mutating func answer(_ question: Question, _ ask: () -> Bool) -> Bool {
        if let answer = self.answers[question] { return answer }
        if self.answers.count >= Self.limit { self.answers.removeAll() }
        let answer = ask()
        self.answers[question] = answer
        return answer
    }
}
