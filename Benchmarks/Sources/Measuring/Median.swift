// SPDX-License-Identifier: Apache-2.0

extension [Double] {
    /// The one in the middle; of none 0.
    package var median: Double {
        let sorted = self.sorted()
        guard let upper = sorted.dropFirst(sorted.count / 2).first else { return 0 }
        guard sorted.count.isMultiple(of: 2), let lower = sorted.dropFirst(sorted.count / 2 - 1).first else {
            return upper
        }
        return (lower + upper) / 2
    }
}
