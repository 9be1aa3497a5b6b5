// SPDX-License-Identifier: Apache-2.0
import HareDo

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension ConfigurationValue {
    /// A value that can be encoded, as a tree.
    init(encoding value: some Encodable) throws {
        self = try JSONDecoder().decode(ConfigurationValue.self, from: try JSONEncoder().encode(value))
    }
}
