// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// Where a binding leads.
enum Destination: Hashable, Sendable {
    case queue(SlotID<BrokerQueue>)
    case exchange(String)
}

/// A binding: source, destination, key and arguments, which together are its identity.
struct Binding: Hashable, Sendable {
    let source: String
    let destination: Destination
    let routingKey: String
    let arguments: AMQPTable
}
