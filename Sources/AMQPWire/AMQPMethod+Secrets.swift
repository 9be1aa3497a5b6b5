// SPDX-License-Identifier: Apache-2.0

// Methods that carry passwords or tokens show them in no description and no dump.

extension AMQPMethod.ConnectionStartOk: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "ConnectionStartOk(mechanism: \(self.mechanism), response: •••)" }
    public var debugDescription: String { self.description }
    public var customMirror: Mirror {
        Mirror(
            self,
            children: [
                "clientProperties": self.clientProperties, "mechanism": self.mechanism, "locale": self.locale,
            ] as KeyValuePairs<String, Any>)
    }
}

extension AMQPMethod.ConnectionSecureOk: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "ConnectionSecureOk(response: •••)" }
    public var debugDescription: String { self.description }
    public var customMirror: Mirror { Mirror(self, children: [:] as KeyValuePairs<String, Any>) }
}

extension AMQPMethod.ConnectionUpdateSecret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "ConnectionUpdateSecret(newSecret: •••, reason: \(self.reason))" }
    public var debugDescription: String { self.description }
    public var customMirror: Mirror { Mirror(self, children: ["reason": self.reason]) }
}
