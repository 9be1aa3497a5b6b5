// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import HareDo

@Suite("The table of plugins")
struct PluginTableTests {
    enum State: CaseIterable {
        case none, loading, loaded, changing, leaving

        func make() throws -> PluginTable<String> {
            var table = PluginTable<String>()
            guard self != .none else { return table }
            try table.reserve("u", name: "n")
            guard self != .loading else { return table }
            table.put("first", "u")
            guard self != .loaded else { return table }
            _ = try table.hold(name: "n")
            if self == .leaving { table.remove("u") }
            return table
        }
    }

    @Test("Whom messages get to", arguments: State.allCases)
    func lookup(state: State) throws {
        let table = try state.make()
        let isThere = state == .loaded || state == .changing
        #expect(table[uuid: "u"] == (isThere ? "first" : nil))
        #expect(table[uuid: "n"] == nil)
        #expect(table.entries == (isThere ? ["first"] : []))
    }

    @Test("Name and uuid are taken once, and whoever comes second is told by whom", arguments: State.allCases)
    func reserving(state: State) throws {
        var table = try state.make()
        guard state != .none else {
            try table.reserve("u", name: "n")
            return
        }
        let byUUID = #expect(throws: HareDoError.self) { try table.reserve("u", name: "other") }
        #expect(byUUID?.message.contains("'other'") == true)
        #expect(byUUID?.message.contains("'n'") == true)
        let byName = #expect(throws: HareDoError.self) { try table.reserve("v", name: "n") }
        #expect(byName?.message.contains("'u'") == true)
        try table.reserve("v", name: "m")
    }

    @Test("One change at a time", arguments: State.allCases)
    func holding(state: State) throws {
        var table = try state.make()
        guard state == .loaded else {
            let error = #expect(throws: HareDoError.self) { try table.hold(name: "n") }
            #expect(error?.code == .invalidArgument)
            return
        }
        let (uuid, entry) = try table.hold(name: "n")
        #expect(uuid == "u")
        #expect(entry == "first")
        #expect(throws: HareDoError.self) { try table.hold(name: "n") }
        table.release("u")
        _ = try table.hold(name: "n")
        // Replaced: it keeps its place.
        table.put("second", "u")
        #expect(table[uuid: "u"] == "second")
        _ = try table.hold(name: "n")
    }

    @Test("What is freed may come again", arguments: State.allCases)
    func freeing(state: State) throws {
        var table = try state.make()
        table.free("u")
        #expect(table.entries.isEmpty)
        try table.reserve("u", name: "n")
    }

    @Test("The order is that of loading, whatever is replaced")
    func order() throws {
        var table = PluginTable<String>()
        for name in ["c", "a", "b"] {
            try table.reserve(name, name: name)
            table.put(name, name)
        }
        _ = try table.hold(name: "c")
        table.put("c2", "c")
        #expect(table.entries == ["c2", "a", "b"])
        table.free("a")
        try table.reserve("a", name: "a")
        table.put("a", "a")
        #expect(table.entries == ["c2", "b", "a"])
    }
}
