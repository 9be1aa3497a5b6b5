// SPDX-License-Identifier: Apache-2.0

/// What a program here ends with when it cannot measure.
package struct Failure: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
