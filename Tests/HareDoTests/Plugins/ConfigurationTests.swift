// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import HareDo

@Suite("Configurations")
struct ConfigurationTests {
    private static let value: ConfigurationValue = [
        "host": "db1", "port": 5432, "ratio": 0.5, "whole": 3.0, "tls": true, "nothing": nil, "hosts": ["a", "b"],
        "pool": ["size": 4, "names": [["first": "x"]]],
    ]
    private static let reader = ConfigurationReader(Self.value, of: "plugin 'db'")

    @Test("Literals and JSON are the same tree, there and back")
    func json() throws {
        let json = #"""
            {"host": "db1", "port": 5432, "ratio": 0.5, "whole": 3.0, "tls": true, "nothing": null, "hosts": ["a", "b"],
             "pool": {"size": 4, "names": [{"first": "x"}]}}
            """#
        let decoded = try JSONDecoder().decode(ConfigurationValue.self, from: Data(json.utf8))
        guard case .map(var map) = decoded else {
            Issue.record("\(decoded)")
            return
        }
        // JSON has no types of numbers: 3.0 is read as 3.
        #expect(map["whole"] == 3)
        map["whole"] = 3.0
        #expect(.map(map) == Self.value)
        let again = try JSONDecoder().decode(ConfigurationValue.self, from: try JSONEncoder().encode(decoded))
        #expect(again == decoded)
    }

    @Test("Values are read by type")
    func types() throws {
        let reader = Self.reader
        #expect(try reader["host"].string == "db1")
        #expect(try reader["port"].integer == 5432)
        #expect(try reader["whole"].integer == 3)
        #expect(try reader["port"].double == 5432)
        #expect(try reader["ratio"].double == 0.5)
        #expect(try reader["tls"].bool)
        #expect(try reader["hosts"].list.map { try $0.string } == ["a", "b"])
        #expect(try reader["pool"].map.keys.sorted() == ["names", "size"])
        #expect(reader["nothing"].ifPresent == nil)
        #expect(reader["missing"].ifPresent == nil)
        #expect(reader["host"]["below"].ifPresent == nil)
        #expect(try reader["pool"].ifPresent?["size"].integer == 4)
    }

    @Test("What is missing or wrong is named with its place and its owner, and without its value")
    func mistakes() throws {
        let reader = Self.reader
        func check(_ expected: String, _ read: () throws -> Any) {
            let error = #expect(throws: HareDoError.self) { _ = try read() }
            #expect(error?.code == .invalidConfiguration)
            #expect(error?.message == "plugin 'db': the configuration key " + expected)
        }
        check("'user' is missing") { try reader["user"].string }
        check("'pool.user.name' is missing") { try reader["pool"]["user"]["name"].string }
        check("'port' is a whole number and has to be text") { try reader["port"].string }
        check("'ratio' is a number and has to be a whole number") { try reader["ratio"].integer }
        check("'host' is text and has to be a number") { try reader["host"].double }
        check("'nothing' is empty and has to be true or false") { try reader["nothing"].bool }
        check("'hosts.1' is text and has to be a whole number") { try reader["hosts"].list[1].integer }
        check("'tls' is true or false and has to be a list") { try reader["tls"].list }
        check("'hosts' is a list and has to be a map") { try reader["hosts"].map }
        check("'hosts' is unknown: there may be host, nothing, pool, port, ratio, tls, whole") {
            try reader.allow(keys: ["host", "port", "ratio", "whole", "tls", "nothing", "pool"])
        }
        check("'pool.names' is unknown: there are none") { try reader["pool"].allow(keys: []) }
    }

    private struct Settings: Decodable, Equatable {
        struct Pool: Decodable, Equatable {
            struct Name: Decodable, Equatable { var first: String }
            var size: Int
            var names: [Name]
        }
        var host: String
        var port: Int
        var pool: Pool
    }

    @Test("All of it becomes a type of one's own, or the key that does not fit is named")
    func decoding() throws {
        let settings = try Self.reader.decode(Settings.self)
        #expect(
            settings == Settings(host: "db1", port: 5432, pool: .init(size: 4, names: [.init(first: "x")])))
        #expect(try Self.reader["pool"].decode(Settings.Pool.self).size == 4)
        #expect(try ConfigurationReader(.double(.infinity), of: "x").decode(Double.self) == .infinity)
        func message(_ value: ConfigurationValue) -> String? {
            #expect(throws: HareDoError.self) {
                try ConfigurationReader(value, of: "plugin 'db'").decode(Settings.self)
            }?.message
        }
        #expect(
            message(["host": "secret", "port": 1, "pool": ["size": 4, "names": [["last": "x"]]]])
                == "plugin 'db': the configuration key 'pool.names.0.first' is missing")
        #expect(
            message(["host": "secret", "port": "secret", "pool": [:]])
                == "plugin 'db': the configuration key 'port' is not a Int")
        #expect(
            message(["host": nil, "port": 1, "pool": [:]])
                == "plugin 'db': the configuration key 'host' is empty and has to be a String")
        #expect(message([]) == "plugin 'db': the configuration is not a Dictionary<String, Any>")
    }

    @Test("Limits are taken out of a plugin's configuration")
    func limits() throws {
        let (limits, rest) = try PluginLimits.taken(
            from: ["limits": ["inFlight": 4, "deadline": 2.5], "level": "info"], of: "log", default: PluginLimits())
        #expect(limits == PluginLimits(inFlight: 4, waiting: 64, deadline: .seconds(2.5)))
        #expect(rest == ["level": "info"])
        let own = PluginLimits(inFlight: 1, waiting: 2)
        #expect(try PluginLimits.taken(from: nil, of: "log", default: own).0 == own)
        for (value, text) in [
            (["inFlight": 0], "limits.inFlight is 0"), (["waiting": -1], "limits.waiting is -1"),
            (["deadline": 0], "limits.deadline has to be above 0"), (["atOnce": 1], "'limits.atOnce' is unknown"),
            (["inFlight": "all"], "'limits.inFlight' is text"), ("many", "'limits' is text"),
        ] as [(ConfigurationValue, String)] {
            let error = #expect(throws: HareDoError.self) {
                try PluginLimits.taken(from: ["limits": value], of: "log", default: PluginLimits())
            }
            #expect(error?.message.contains(text) == true, "\(error?.message ?? "")")
            #expect(error?.message.contains("'log'") == true)
        }
    }
}
