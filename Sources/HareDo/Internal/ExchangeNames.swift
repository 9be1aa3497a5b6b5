// SPDX-License-Identifier: Apache-2.0

/// The names of the exchanges that HareDo uses, and of what hangs on them.
struct ExchangeNames: Sendable {
    /// Where events go.
    let events: String
    /// Where services are asked for.
    let discovery: String
    private let prefix: String

    private static let longestNamespace = 64

    /// - Throws: ``HareDoError/Code/invalidArgument`` for a namespace that is not one.
    init(namespace: String) throws(HareDoError) {
        try ServiceOptions.require(
            namespace.utf8.count <= Self.longestNamespace && namespace.utf8.allSatisfy(Self.isAllowed),
            "the namespace '\(WireHeaders.cut(namespace, to: 80))' has to consist of letters, digits, '-' and '_', at most "
                + "\(Self.longestNamespace) of them")
        self.prefix = namespace.isEmpty ? "haredo." : namespace + ".haredo."
        self.events = self.prefix + "events"
        self.discovery = self.prefix + "discovery"
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// The queue that instances of one group share.
    func queue(of group: String, pattern: String) -> String { self.events + "." + group + "." + pattern }

    /// A queue that nobody shares.
    func ownQueue(for purpose: String) -> String { self.prefix + purpose + "." + RandomName.make() }
}
