// SPDX-License-Identifier: Apache-2.0

/// What the program was told.
struct Options {
    var broker: String?
    var isJSON = false
    var runs = 5

    init?(_ arguments: [String]) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--json": self.isJSON = true
            case "--broker":
                guard let url = rest.popFirst(), !url.isEmpty else { return nil }
                self.broker = url
            case "--runs":
                guard let runs = rest.popFirst().flatMap({ Int($0) }), runs > 0 else { return nil }
                self.runs = runs
            default: return nil
            }
        }
    }
}
