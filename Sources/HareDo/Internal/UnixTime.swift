// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

enum UnixTime {
    /// Seconds since 1970.
    static var now: UInt64 { UInt64(max(Date().timeIntervalSince1970, 0)) }
}
