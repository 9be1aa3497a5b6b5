// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers

/// What a program has for its plugins, by type: a database, say. It is put in before they are loaded.
///
/// ```swift
/// peer.plugins.resources.add(Database(url))
/// // in a plugin:
/// let database = try context.resources[Database.self]
/// ```
///
/// A type is known by itself, not by its name: one that a plugin's library has a copy of is another. Both have to link
/// the same shared library.
public final class Resources: Sendable {
    private let values = NIOLockedValueBox<[ObjectIdentifier: any Sendable]>([:])

    /// Nothing yet.
    public init() {}

    /// Adds a value, or replaces the one of its type.
    ///
    /// - Parameter type: what it is asked for as, such as a protocol it conforms to (`(any Store).self`).
    public func add<Value: Sendable>(_ value: Value, as type: Value.Type = Value.self) {
        self.values.withLockedValue { $0[ObjectIdentifier(type)] = value }
    }

    /// The value of a type.
    ///
    /// - Throws: ``HareDoError/Code/noSuchResource`` if there is none.
    public subscript<Value: Sendable>(_ type: Value.Type) -> Value {
        get throws(HareDoError) {
            guard let value = self.find(type) else {
                throw HareDoError(
                    .noSuchResource,
                    "there is no resource of the type \(type): the program, or one of its modules, has to add it "
                        + "before plugins are loaded")
            }
            return value
        }
    }

    /// The value of a type, if there is one.
    public func find<Value: Sendable>(_ type: Value.Type) -> Value? {
        self.values.withLockedValue { $0[ObjectIdentifier(type)] as? Value }
    }
}
