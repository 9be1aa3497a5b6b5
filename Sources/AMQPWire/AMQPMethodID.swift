// SPDX-License-Identifier: Apache-2.0

/// The pair of numbers that identifies a method on the wire.
public struct AMQPMethodID: Hashable, Sendable, CustomStringConvertible {
    /// Class, such as 60 for basic.
    public var classID: UInt16
    /// Method within the class.
    public var methodID: UInt16

    /// The pair of both.
    public init(classID: UInt16, methodID: UInt16) {
        self.classID = classID
        self.methodID = methodID
    }

    public var description: String { self.name ?? "method \(self.classID).\(self.methodID)" }
}
