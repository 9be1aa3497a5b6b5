// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension ToolTests {
    @Test("config init writes a file that passes its check, for its owner alone, and not over another")
    func configInit() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "haredo-config-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/deep/haredo.conf"
        let environment = ["HAREDO_CONFIG": path]
        let missing = try await haredo("config", "check", environment: environment)
        #expect(missing.status == 66)
        #expect(
            missing.error == "haredo: \(path): there is no such configuration file. `haredo config init` writes one\n")

        let written = try await haredo("config", "init", "--port", "5673", environment: environment)
        #expect(written.status == 0, "\(written.error)")
        #expect(written.text == "written: \(path)\n")
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(try await haredo("config", "check", environment: environment).text == "\(path): all right\n")
        let again = try await haredo("config", "init", "--config", path)
        #expect(again.status == 1)
        #expect(again.error.contains("there already"))

        let shown = try await haredo("config", "show", "--config", path)
        #expect(shown.status == 0)
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let key = try #require(text.firstMatch(of: /key: ([0-9a-f-]{36})/)?.1)
        #expect(!shown.text.contains(key))
        #expect(shown.text.contains(#""embedded":true,"port":5673"#), "\(shown.text)")

        try (text + "spead: 1\n").write(toFile: path, atomically: true, encoding: .utf8)
        let wrong = try await haredo("config", "check", "--config", path)
        #expect(wrong.status == 78)
        let lines = text.split(separator: "\n").count
        #expect(wrong.error.hasPrefix("haredo: \(path):\(lines + 1):1: 'spead' is unknown"), "\(wrong.error)")
        let listed = try await haredo("config", "check", "--json", "--config", path)
        #expect(listed.status == 78 && listed.lines.count == 1 && listed.error.isEmpty)
        #expect(listed.text.hasPrefix(#"{"column":1,"file":"\#(path)","line":\#(lines + 1),"message":"'spead'"#))
    }

    @Test("config broker tries a broker, and says how it went", arguments: TestBroker.available)
    func configBrokerTest(broker: TestBroker) async throws {
        try await broker.run { url in
            let port = try #require(url.firstMatch(of: /:([0-9]+)(\/|$)/)?.1)
            let arguments = ["config", "broker", "-t", "-u", "guest", "-s", "127.0.0.1", "-p", String(port)]
            let good = try await haredo(arguments, environment: ["PRBPASSWORD": "guest"])
            #expect(good.status == 0, "\(good.error)")
            #expect(
                good.lines == [
                    #"{"host":"127.0.0.1","port":\#(port),"ssl":false,"user":"guest","vhost":"/"}"#, "succeeded",
                ])
            let wrong = try await haredo(
                arguments, environment: ["HAREDO_PASSWORD": "hunter2", "PRBPASSWORD": "guest"])
            #expect(wrong.status == 1)
            #expect(wrong.lines.last?.hasPrefix("failed: ") == true)
            #expect(!wrong.text.contains("hunter2"))
        }
    }

    @Test("config broker writes into the file, and leaves the rest")
    func configBrokerWrite() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "haredo-config-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/haredo.conf"
        #expect(try await haredo("config", "init", "--config", path).status == 0)
        let before = try String(contentsOfFile: path, encoding: .utf8)
        let written = try await haredo(
            "config", "broker", "--config", path, "-u", "me", "-s", "rabbit1", "-V", "/prod",
            environment: ["HAREDO_PASSWORD": "it's"])
        #expect(written.status == 0, "\(written.error)")
        let after = try String(contentsOfFile: path, encoding: .utf8)
        let comments = { (text: String) in text.split(separator: "\n").filter { $0.contains("#") } }
        #expect(comments(after) == comments(before))
        let shown = try await haredo("config", "show", "--config", path)
        #expect(shown.text.contains(#""hosts":["rabbit1"]"#), "\(shown.text)")
        #expect(shown.text.contains(#""port":5672"#))
        #expect(shown.text.contains(#""user":"me""#))
        #expect(after.contains("password: 'it''s'"))
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        // What a daemon would not start with is not written.
        let bad = try await haredo("config", "broker", "--config", path, "-s", "a/b")
        #expect(bad.status == 78)
        #expect(bad.error.contains("is no name of a host"))
        #expect(try String(contentsOfFile: path, encoding: .utf8) == after)
    }

    @Test("config database tries whether somebody listens, and writes into the file")
    func configDatabase() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "haredo-config-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/haredo.conf"
        #expect(try await haredo("config", "init", "--config", path).status == 0)
        let written = try await haredo(
            "config", "database", "--config", path, "-s", "db1", "-n", "vaquero", "-u", "me", "--driver", "postgresql",
            environment: ["HAREDO_PASSWORD": "hunter2"])
        #expect(written.status == 0, "\(written.error)")
        let shown = try await haredo("config", "show", "--config", path)
        #expect(
            shown.text.contains(
                #""database":{"driver":"postgresql","host":"db1","name":"vaquero","password":"********","port":null,"user":"me"}"#
            ), "\(shown.text)")
        #expect(try String(contentsOfFile: path, encoding: .utf8).contains("    password: 'hunter2'"))

        try await withTool("broker", "--listen", "127.0.0.1:0") { broker in
            let port = try #require(try await URLComponents(string: broker.firstLine())?.port)
            let there = try await haredo("config", "database", "-t", "-s", "127.0.0.1", "-p", "\(port)")
            #expect(there.status == 0, "\(there.error)")
            #expect(there.lines == [#"{"host":"127.0.0.1","port":\#(port)}"#, "succeeded"])
        }
        let nobody = try await haredo("config", "database", "-t", "-s", "127.0.0.1", "-p", "\(try freePort())")
        #expect(nobody.status == 1)
        #expect(nobody.lines.last?.hasSuffix("Connection refused") == true, "\(nobody.text)")
        #expect(nobody.lines.last?.hasPrefix("failed: ") == true)
        #expect(try await haredo("config", "database", "-t", "--driver", "paper").status == 64)
    }
}
