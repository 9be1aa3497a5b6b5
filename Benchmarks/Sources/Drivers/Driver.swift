// SPDX-License-Identifier: Apache-2.0

/// One operation to be measured, on one thread and without sockets, clocks or randomness: it does the same every time.
public struct Driver: Sendable {
    /// Area, operation and, where it matters, size.
    public let name: String
    /// For how many operations instructions are counted: enough for growth of what grows to show in the mean.
    public let count: Int
    private let make: @Sendable () throws -> (Int) throws -> Void

    init(_ name: String, count: Int = 2048, _ make: @escaping @Sendable () throws -> (Int) throws -> Void) {
        self.name = name
        self.count = count
        self.make = make
    }

    /// Everything that comes before the first operation.
    ///
    /// - Returns: a closure that does as many operations as it is told, rounded up to whole batches; to be called on the
    ///   thread that prepared it.
    public func prepare() throws -> (Int) throws -> Void { try self.make() }

    /// All there are.
    public static var all: [Driver] {
        self.wire + self.client + self.broker + self.whole + self.calls
    }

    /// How many messages travel together where messages do.
    static let batch = 64

    /// - Throws: ``Mistake`` where a driver did not do what it is there for.
    static func check(_ condition: Bool, _ what: @autoclosure () -> String) throws(Mistake) {
        if !condition { throw Mistake(description: what()) }
    }
}

/// A driver found that it did not do what it is there for.
public struct Mistake: Error, CustomStringConvertible {
    public let description: String
}
