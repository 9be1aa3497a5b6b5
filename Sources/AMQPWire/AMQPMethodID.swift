// SPDX-License-Identifier: Apache-2.0

/// The pair of numbers that identifies a method on the wire.
public struct AMQPMethodID: Hashable, Sendable, CustomStringConvertible {
    public var classID: UInt16
    public var methodID: UInt16

    public init(classID: UInt16, methodID: UInt16) {
        self.classID = classID
        self.methodID = methodID
    }

    public var description: String { self.name ?? "method \(self.classID).\(self.methodID)" }
}
