// SPDX-License-Identifier: Apache-2.0

/// Names that nobody else has, and passwords that nobody guesses.
enum RandomName {
    /// 128 random bits in digits and lower-case letters.
    static func make() -> String {
        String(UInt64.random(in: 0 ... .max), radix: 36) + String(UInt64.random(in: 0 ... .max), radix: 36)
    }
}
