// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Testing

@testable import HareDoDaemon

@Suite("The daemon's configuration")
struct DaemonConfigurationTests {
    /// The file in the original's README.
    static let original = """
        ---
        system:
          broker:
            host: localhost
            user: guest
            password: guest
            port: '5672'
            ssl:
              enable: false
              port: '5671'
              tls_cert: '/etc/haredo/ssl/cert.pem'
              tls_key: '/etc/haredo/ssl/key.pem'
              tls_ca: '/etc/haredo/ssl/cacert.pem'
        daemon:
          queue:
            name: 'jujifruit'
            properties:
              exclusive: false
              auto_delete: true
          key: 'b8d96b66-8cae-4e16-b5ec-d607483b061e'
          modules:
            - vaquero/service/config
          services:
            haredo:
              path_prefix: haredo/plugins
              plugins:
                echo:
                  juji: fruit
            myplugins:
              path_prefix: mylib/plugins
              plugins:
                log:
                  db:
                    host: localhost
                    db: vaquero
                    user: root
        """

    private static func read(
        _ text: String, environment: [String: String] = [:], isReadableByAll: Bool = false
    ) throws(ConfigurationProblems) -> DaemonConfiguration {
        try DaemonConfiguration(
            text: text, file: "haredo.conf", environment: environment, isReadableByAll: isReadableByAll)
    }

    /// What is said of a text, a line for each mistake.
    private static func problems(_ text: String, environment: [String: String] = [:]) -> [String] {
        do {
            _ = try Self.read(text, environment: environment)
            return []
        } catch {
            return error.all.map { $0.description.replacing("haredo.conf:", with: "") }
        }
    }

    private static func daemon(_ lines: String...) -> String {
        "daemon:\n  queue: {name: q}\n" + lines.map { "  " + $0 + "\n" }.joined()
    }

    @Test("The original's file means what it meant")
    func originalFile() throws {
        let configuration = try Self.read(Self.original)
        #expect(configuration.broker.connectionURL == "amqp://guest:guest@localhost:5672/%2F")
        #expect(configuration.broker.tls == nil)
        #expect(configuration.queue.name == "jujifruit")
        #expect(configuration.queue.shape == .shared)
        #expect(configuration.key == "b8d96b66-8cae-4e16-b5ec-d607483b061e")
        #expect(configuration.modules == [PluginSettings(name: "vaquero/service/config", configuration: [:])])
        #expect(configuration.services.map(\.name) == ["haredo", "myplugins"])
        #expect(configuration.services.map(\.prefix) == ["haredo/plugins", "mylib/plugins"])
        #expect(
            configuration.services.flatMap(\.plugins) == [
                PluginSettings(name: "echo", configuration: ["juji": "fruit"]),
                PluginSettings(
                    name: "log", configuration: ["db": ["host": "localhost", "db": "vaquero", "user": "root"]]),
            ])
        #expect(configuration.warnings.isEmpty)
    }

    @Test("What `config init` writes runs")
    func template() throws {
        let configuration = try Self.read(DaemonConfiguration.template(port: 5673, key: "0123456789abcdef"))
        #expect(configuration.broker.isEmbedded)
        #expect(configuration.broker.connectionURL == "amqp://guest:guest@127.0.0.1:5673")
        #expect(configuration.queue.shape == .shared)
        #expect(configuration.services.flatMap(\.plugins).map(\.name) == ["echo", "status"])
        #expect(configuration.warnings.isEmpty)
    }

    @Test("Everything that is wrong is said at once, with its place and what was meant")
    func everything() {
        let text = """
            system:
              broker: {hots: localhost, port: 70000}
            daemon:
              queue:
                nam: q
                properties: {exclusive: maybe}
              key: short
              logging: {level: loud, format: jsn}
              service: {}
            """
        #expect(
            Self.problems(text) == [
                "2:12: 'system.broker.hots' is unknown: did you mean 'host'?",
                "2:29: 'system.broker.port' has to be 1 to 65535, not 70000",
                "5:5: 'daemon.queue.nam' is unknown: did you mean 'name'?",
                "5:5: 'daemon.queue.name' is missing: the queue to listen on",
                "6:18: 'daemon.queue.properties.exclusive' has to be true or false, not 'maybe'",
                "7:3: 'daemon.key' is too short to be secret: at least 16 bytes",
                "8:13: 'daemon.logging.level' has to be trace, debug, info, notice, warning, error or critical, not 'loud'",
                "8:26: 'daemon.logging.format' has to be text or json, not 'jsn': did you mean 'json'?",
                "9:3: 'daemon.service' is unknown: did you mean 'services'?",
            ])
    }

    @Test(
        "What is no configuration",
        arguments: [
            ("", "1:1: 'daemon' is missing"), ("- a", "1:1: the file has to be a map"),
            ("a: b: c", "1:5: it is no YAML"),
            ("daemon: 5", "1:9: 'daemon' has to be a map, and is text"), ("daemon: {queue: {name: q}", "it is no YAML"),
            ("daemon:\n  queue: {name: q}\n  queue: {name: r}", "has twice: queue"),
            ("daemon:\n  ? [a]\n  : b", "2:5: a key has to be text"), ("daemon: *x", "undefined alias"),
            ("a: \u{7}", "it is no YAML"),
            ("daemon: {queue: {name: [q]}}", "'daemon.queue.name' has to be text, and is a list"),
            ("daemon: {queue: {name: q}, modules: 5}", "'daemon.modules' has to be a list of names or a map"),
            ("daemon: {queue: {name: q}, modules: [[a]]}", "has in its list what is no name, but a list"),
            (
                "daemon: {queue: {name: q}, services: {a: {plugins: {x: 5}}}}",
                "has for 'x' a configuration that is no map, but text"
            ),
            (
                "daemon: {queue: {name: q}, services: {a: {plugins: [x]}, b: {plugins: [x]}}}",
                "has the plugin 'x' twice: in 'a' and 'b'"
            ),
            ("daemon: {queue: {name: q}, services: {a: {path_prefix: ../x}}}", "cannot lead out"),
            ("daemon: {queue: {name: q}, plugin_path: here}", "no absolute path"),
            ("daemon: {queue: {name: q}, drain_timeout: soon}", "has to be a number of seconds, not 'soon'"),
            ("daemon: {queue: {name: q}, drain_timeout: -1}", "has to be 0 to 3600 seconds, not -1"),
            ("system: {broker: {url: 'http://x'}}\ndaemon: {queue: {name: q}}", "has to begin with amqp://"),
            (
                "system: {broker: {url: 'amqp://x', host: y}}\ndaemon: {queue: {name: q}}",
                "'system.broker.host' cannot be given besides 'url'"
            ),
            (
                "system: {broker: {embedded: true, user: y}}\ndaemon: {queue: {name: q}}",
                "'system.broker.user' cannot be given with 'embedded'"
            ),
            (
                "system: {broker: {host: x, hosts: [y]}}\ndaemon: {queue: {name: q}}",
                "'system.broker.hosts' cannot be given besides 'host'"
            ),
            ("system: {broker: {host: 'a/b'}}\ndaemon: {queue: {name: q}}", "is no name of a host"),
            (
                "system: {broker: {ssl: {enable: true, tls_cert: /nowhere}}}\ndaemon: {queue: {name: q}}",
                "'system.broker.ssl.tls_cert' names '/nowhere', which cannot be read"
            ),
            (
                "system: {broker: {password: x, password_file: /nowhere}}\ndaemon: {queue: {name: q}}",
                "cannot be given besides 'password'"
            ),
        ])
    func mistakes(text: String, mentions: String) {
        let problems = Self.problems(text)
        #expect(!problems.isEmpty)
        #expect(problems.contains { $0.contains(mentions) }, "\(problems)")
        #expect(problems.allSatisfy { $0.prefixMatch(of: #/\d+:\d+: /#) != nil }, "\(problems)")
    }

    @Test("The queue's properties become a shape that brokers accept, or are refused")
    func properties() throws {
        enum Expected { case shape(QueueShape), refused(String) }
        let flags = [nil, true, false]
        for exclusive in flags {
            for autoDelete in flags {
                for durable in flags {
                    var words: [String] = []
                    if let exclusive { words.append("exclusive: \(exclusive)") }
                    if let autoDelete { words.append("auto_delete: \(autoDelete)") }
                    if let durable { words.append("durable: \(durable)") }
                    let expected: Expected =
                        switch (exclusive ?? false, autoDelete, durable) {
                        case (true, _, true): .refused("cannot be true with exclusive")
                        case (true, _, _): .shape(.exclusive)
                        case (false, true, _), (false, nil, nil), (false, nil, false): .shape(.shared)
                        case (false, _, true), (false, false, nil): .shape(.durable)
                        case (false, false, false): .refused("RabbitMQ 4.3 refuses")
                        }
                    let text = "daemon: {queue: {name: q, properties: {\(words.joined(separator: ", "))}}}"
                    switch expected {
                    case .shape(let shape): #expect(try Self.read(text).queue.shape == shape, "\(words)")
                    case .refused(let reason):
                        #expect(Self.problems(text).contains { $0.contains(reason) }, "\(words)")
                    }
                }
            }
        }
        let quorum = try Self.read(
            "daemon: {queue: {name: q, properties: {arguments: {x-queue-type: quorum, x-max-length: 10}}}}")
        #expect(quorum.queue.shape == QueueShape.quorum.with(["x-max-length": 10]))
        for wrong in ["exclusive: true", "auto_delete: true"] {
            #expect(
                Self.problems("daemon: {queue: {name: q, properties: {\(wrong), arguments: {x-queue-type: quorum}}}}")
                    .contains { $0.contains("cannot be true with x-queue-type quorum") })
        }
    }

    @Test("Variables of the environment")
    func environment() throws {
        let text = """
            system: {broker: {host: "${HOST}", port: "${PORT:5673}", user: "$${HOST}", password: 'a$b', vhost: "x${A:}y"}}
            daemon:
              queue: {name: "${A}${B:-}"}
              services:
                s:
                  plugins:
                    p:
                      deep: [{x: "${HOST}", n: "${B:7}"}]
                      n: ${B:7}
            """
        let configuration = try Self.read(text, environment: ["HOST": "db1", "A": "${HOST}"])
        // A value is not looked through again.
        #expect(configuration.queue.name == "${HOST}-")
        #expect(configuration.broker.connectionURL == "amqp://%24%7BHOST%7D:a%24b@db1:5673/x%24%7BHOST%7Dy")
        #expect(
            configuration.services.first?.plugins.first?.configuration
                == ["deep": [["x": "db1", "n": "7"]], "n": 7])
        let problems = Self.problems(Self.daemon("key: ${KEY}", "plugin_path: ['${a b}', '${X']"))
        #expect(
            problems == [
                "3:8: the environment has no variable 'KEY'; a default would be '${KEY:default}'",
                "4:17: '${a b}' names no variable of the environment",
                "4:27: a '${' has no '}'; to write it as it is, double the dollar: '$${'",
            ])
    }

    @Test("Hosts, TLS and files with passwords")
    func brokers() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "haredo-configuration-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        for name in ["cert.pem", "key.pem", "ca.pem", "password"] {
            try Data("s3cret/\n".utf8).write(to: folder.appending(path: name))
        }
        let text = """
            system:
              broker:
                hosts: [a, 'b:5680', '::1']
                port: 5673
                user: u
                password_file: \(folder.path)/password
                ssl: {enable: yes, tls_cert: \(folder.path)/cert.pem, tls_key: \(folder.path)/key.pem, tls_ca: \(folder.path)/ca.pem}
                unreachable: fail
            daemon: {queue: {name: q}}
            """
        let broker = try Self.read(text).broker
        let files = folder.path.replacing("/", with: "%2F")
        #expect(
            broker.connectionURL
                == "amqps://u:s3cret%2F@a:5671,b:5680,[::1]:5671/%2F?cacertfile=\(files)%2Fca.pem"
                + "&certfile=\(files)%2Fcert.pem&keyfile=\(files)%2Fkey.pem")
        #expect(!broker.waits)
        #expect(try Self.read(Self.daemon()).broker.isEmbedded)
    }

    @Test("A database for plugins, and a port for health and metrics")
    func databaseAndHTTP() throws {
        let file = """
            system: {database: {driver: postgresql, host: db1, port: '5433', name: v, user: root, password: '${PW}'}}
            daemon: {queue: {name: q}, http: {port: 9180}, timeout: 2.5}
            """
        let configuration = try Self.read(file, environment: ["PW": "hunter2"])
        #expect(
            configuration.database
                == DatabaseSettings(
                    driver: "postgresql", host: "db1", port: 5433, name: "v", user: "root", password: "hunter2"))
        #expect(configuration.httpPort == 9180)
        #expect(configuration.timeout == .seconds(2.5))
        let text = try #require(configuration.database.map { "\($0)" })
        #expect(text == "postgresql://root@db1:5433/v")

        let without = try Self.read(Self.daemon())
        #expect(without.database == nil && without.httpPort == nil)
        #expect(
            Self.problems("system: {database: {host: a/b}}\ndaemon: {queue: {name: q}, http: {host: x}}")
                == [
                    "1:21: 'system.database.host' has 'a/b', which is no name of a host",
                    "2:34: 'daemon.http.port' is missing: where to listen, on this machine",
                    "2:35: 'daemon.http.host' is unknown: did you mean 'port'?",
                ])
        let warnings = try Self.read(
            "system: {database: {password: x}}\ndaemon: {queue: {name: q}}", isReadableByAll: true
        ).warnings
        #expect(warnings.count == 1 && warnings.first?.message.contains("'system.database.password'") == true)
    }

    @Test("A password that everybody may read earns a warning, but for the one that everybody knows")
    func warnings() throws {
        let text = "system: {broker: {user: u, password: p}}\n" + Self.daemon()
        #expect(try Self.read(text).warnings.isEmpty)
        let warnings = try Self.read(text, isReadableByAll: true).warnings
        #expect(warnings.map(\.line) == [1])
        #expect(warnings.first?.message.contains("chmod o-r") == true)
        #expect(try Self.read(Self.original, isReadableByAll: true).warnings.isEmpty)
    }

    @Test("What is shown has no secrets")
    func effective() throws {
        let text = """
            system:
              broker: {host: h, user: u, password: hunter2}
            daemon:
              queue: {name: q}
              key: hunter4-hunter4-hunter4
              services: {s: {plugins: {p: {api_token: hunter5, nested: [{secretKey: hunter6}], open: shown}}}}
            """
        let json = String(decoding: try JSONEncoder().encode(try Self.read(text).effective), as: UTF8.self)
        #expect(!json.contains("hunter"))
        #expect(json.contains("shown"))
        #expect(
            try !String(
                describing: Self.read("system: {broker: {url: 'amqp://u:hunter2@h'}}\n" + Self.daemon()).effective
            ).contains("hunter2"))
    }

    @Test("A short file that means millions of values is refused")
    func references() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1..<12 {
            text +=
                "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
                + "]\n"
        }
        #expect(Self.problems(text).contains { $0.contains("more than 100000 values") })
        let deep = "daemon: " + String(repeating: "[", count: 100_000)
        #expect(Self.problems(deep).count == 1)
    }

    @Test(
        "What somebody meant",
        arguments: [
            ("hots", "host"), ("prot", "port"), ("Port", "port"), ("passwort", "password"), ("x", nil),
            ("entirely", nil),
            ("usr", "user"),
        ])
    func nearest(written: String, meant: String?) {
        #expect(NearestKey.of(written, among: ["host", "port", "user", "password"]) == meant)
    }

    @Test("The file that is meant")
    func path() {
        #expect(DaemonConfiguration.path("x", environment: ["HAREDO_CONFIG": "y"]) == "x")
        #expect(DaemonConfiguration.path(nil, environment: ["HAREDO_CONFIG": "y"]) == "y")
        #expect(DaemonConfiguration.path(nil, environment: ["HAREDO_CONFIG": ""]) == "/etc/haredo/haredo.conf")
        let error = #expect(throws: ConfigurationProblems.self) {
            try DaemonConfiguration(path: "/nowhere/haredo.conf", environment: [:])
        }
        #expect(error?.description.contains("haredo config init") == true)
    }
}
