// SPDX-License-Identifier: Apache-2.0
import Testing

@_spi(HareDo) @testable import AMQPClient

@Suite struct ConfigurationURITests {
    struct Example: Sendable, CustomTestStringConvertible {
        var uri: String
        var user = "guest"
        var password = "guest"
        var host = "localhost"
        var port = 5672
        var virtualHost = "/"
        var isTLS = false
        var testDescription: String { self.uri }
    }

    // The examples of https://www.rabbitmq.com/docs/uri-spec, and their neighbours.
    @Test(arguments: [
        Example(
            uri: "amqp://user:pass@host:10000/vhost", user: "user", password: "pass", host: "host", port: 10000,
            virtualHost: "vhost"),
        Example(
            uri: "amqp://user%61:%61pass@ho%61st:10000/v%2fhost", user: "usera", password: "apass", host: "hoast",
            port: 10000, virtualHost: "v/host"),
        Example(uri: "amqp://"),
        Example(uri: "amqp://:@/", user: "", password: "", virtualHost: ""),
        Example(uri: "amqp://user@", user: "user"),
        Example(uri: "amqp://user:pass@", user: "user", password: "pass"),
        Example(uri: "amqp://host", host: "host"),
        Example(uri: "amqp://:10000", port: 10000),
        Example(uri: "amqp:///vhost", virtualHost: "vhost"),
        Example(uri: "amqp://host/", host: "host", virtualHost: ""),
        Example(uri: "amqp://host/%2f", host: "host"),
        Example(uri: "amqp://host/%2F", host: "host"),
        Example(uri: "amqp://[::1]", host: "::1"),
        Example(uri: "amqp://[2001:db8::2:1]:1234/v", host: "2001:db8::2:1", port: 1234, virtualHost: "v"),
        Example(uri: "amqp://[fe80::1%25eth0]", host: "fe80::1%eth0"),
        Example(uri: "AMQP://host", host: "host"),
        Example(uri: "amqp://host:", host: "host"),
        Example(uri: "amqp://u:p%40%3a%2f%3f@host", user: "u", password: "p@:/?", host: "host"),
        Example(uri: "amqp://u:a:b@host", user: "u", password: "a:b", host: "host"),
        Example(uri: "amqp://u:a@b@host", user: "u", password: "a@b", host: "host"),
        Example(uri: "amqp://u:p%C3%A4@host/%E2%82%AC", user: "u", password: "pä", host: "host", virtualHost: "€"),
        Example(uri: "amqp://host/v?unknown=1&flag", host: "host", virtualHost: "v"),
        Example(uri: "amqps://", port: 5671, isTLS: true),
        Example(
            uri: "AMQPS://u:p@host:1/v", user: "u", password: "p", host: "host", port: 1, virtualHost: "v", isTLS: true),
    ])
    func examples(_ example: Example) throws {
        let configuration = try AMQPConfiguration(uri: example.uri)
        #expect(configuration.addresses == [.tcp(host: example.host, port: example.port)])
        #expect(configuration.address == .tcp(host: example.host, port: example.port))
        #expect((configuration.tls != nil) == example.isTLS)
        #expect(configuration.user == example.user)
        #expect(configuration.password == example.password)
        #expect(configuration.virtualHost == example.virtualHost)
    }

    @Test func parametersAreUnderstood() throws {
        let configuration = try AMQPConfiguration(
            uri: "amqp://host?heartbeat=5&connection_timeout=1500&channel_max=70000")
        #expect(configuration.heartbeat == .seconds(5))
        #expect(configuration.connectTimeout == .milliseconds(1500))
        #expect(configuration.channelMax == .max)
    }

    @Test(arguments: [
        ("amqp://u:p@a:1,b,[::1]:3/v", [("a", 1), ("b", 5672), ("::1", 3)]),
        ("amqps://a,b:1,%63", [("a", 5671), ("b", 1), ("c", 5671)]),
        ("amqp://[::1],[::2]", [("::1", 5672), ("::2", 5672)]),
    ])
    func severalHosts(uri: String, hosts: [(String, Int)]) throws {
        let configuration = try AMQPConfiguration(uri: uri)
        #expect(configuration.addresses == hosts.map { .tcp(host: $0.0, port: $0.1) })
        #expect(configuration.address == configuration.addresses.first)
    }

    @Test func thereIsAlwaysAnAddress() {
        var configuration = AMQPConfiguration(addresses: [])
        #expect(configuration.addresses == [.tcp(host: "localhost", port: 5672)])
        configuration.addresses = []
        #expect(configuration.addresses == [.tcp(host: "localhost", port: 5672)])
        configuration.addresses = [.tcp(host: "a", port: 1), .tcp(host: "b", port: 1)]
        configuration.address = .tcp(host: "c", port: 1)
        #expect(configuration.addresses == [.tcp(host: "c", port: 1)])
        #expect(AMQPConfiguration(addresses: [], tls: AMQPTLS()).address == .tcp(host: "localhost", port: 5671))
        #expect(AMQPConfiguration(host: "h", tls: AMQPTLS()).address == .tcp(host: "h", port: 5671))
    }

    @Test func userAndPasswordAreThoseOfFixedCredentials() {
        var configuration = AMQPConfiguration()
        configuration.password = "p"
        configuration.user = "u"
        #expect(configuration.credentials.fixedSecret == .init(user: "u", password: "p"))
        configuration.credentials = .external
        #expect(configuration.user.isEmpty && configuration.password.isEmpty)
        configuration.user = "v"
        #expect(configuration.credentials.fixedSecret == .init(user: "v", password: ""))
    }

    @Test(
        arguments: [
            ("", [.plain, .amqplain]), ("?auth_mechanism=external", [.external]), ("?auth_mechanism=PLAIN", [.plain]),
            ("?auth_mechanism=amqplain&auth_mechanism=plain&auth_mechanism=amqplain", [.amqplain, .plain]),
        ] as [(String, [AMQPSASLMechanism])])
    func mechanisms(query: String, mechanisms: [AMQPSASLMechanism]) throws {
        #expect(try AMQPConfiguration(uri: "amqp://host\(query)").saslMechanisms == mechanisms)
    }

    @Test func withExternalAloneTheUserIsNotKnown() throws {
        let external = try AMQPConfiguration(uri: "amqps://u:p@host?auth_mechanism=external")
        #expect(external.credentials.isExternal)
        #expect(external.user.isEmpty)
        let both = try AMQPConfiguration(uri: "amqps://u:p@host?auth_mechanism=external&auth_mechanism=plain")
        #expect(both.credentials.fixedSecret == .init(user: "u", password: "p"))
    }

    @Test func tlsAsItComesChecksEverything() throws {
        let tls = try #require(try AMQPConfiguration(uri: "amqps://host").tls)
        #expect(tls.trust == .systemRoots)
        #expect(tls.verification == .full)
        #expect(tls.identity == nil)
        #expect(tls.serverName == .host)
    }

    @Test func tlsParametersAreUnderstood() throws {
        let tls = try #require(
            try AMQPConfiguration(
                uri: "amqps://host?cacertfile=/a%20b/ca.pem&certfile=/c.pem&keyfile=/k.pem&verify=verify_peer"
                    + "&server_name_indication=broker.example"
            ).tls)
        #expect(tls.trust == .authorities(.file("/a b/ca.pem")))
        #expect(tls.verification == .full)
        #expect(tls.identity == .init(certificateChain: .file("/c.pem"), privateKey: .file("/k.pem")))
        #expect(tls.serverName == .name("broker.example"))
        let lax = try #require(
            try AMQPConfiguration(uri: "amqps://host?server_name_indication=disable&certfile=/both.pem").tls)
        #expect(lax.serverName == .notSent)
        #expect(lax.verification == .withoutHostName)
        #expect(lax.identity == .init(certificateChain: .file("/both.pem"), privateKey: .file("/both.pem")))
        // Whichever comes first, the laxer of both is what was asked for.
        for query in [
            "verify=verify_none&server_name_indication=disable", "server_name_indication=disable&verify=verify_none",
        ] {
            #expect(try AMQPConfiguration(uri: "amqps://host?\(query)").tls?.verification == AMQPTLS.Verification.none)
        }
    }

    @Test(arguments: [
        ("", "scheme"), ("host", "scheme"), ("amqp:host", "scheme"), ("u:hush@host", "scheme"),
        ("http://u:hush@host", "scheme"), ("hush://host", "scheme"),
        ("amqp://u:hush@host:0", "port"), ("amqp://u:hush@host:65536", "port"), ("amqp://u:hush@host:x", "port"),
        ("amqp://u:hush@host:-1", "port"), ("amqp://u:hush@host:+1", "port"), ("amqp://u:hush@host:1 ", "port"),
        ("amqp://u:hush@host/a/b", "slash"), ("amqp://u:hush@[::1", "bracket"), ("amqp://u:hush@[::1]x", "IPv6"),
        ("amqp://u:hush@::1", "IPv6"), ("amqp://u:hush@a:b:1", "IPv6"),
        ("amqp://u:hush%@host", "percent"), ("amqp://u:hush%4@host", "percent"), ("amqp://u:hush%zz@host", "percent"),
        ("amqp://u:hush%ff@host", "percent"), ("amqp://%ff:hush@host", "percent"), ("amqp://u:hush@h%xy", "percent"),
        ("amqp://u:hush@host/%", "percent"), ("amqp://u:hush@host?heartbeat=x", "heartbeat"),
        ("amqp://u:hush@host?heartbeat=-1", "heartbeat"), ("amqp://u:hush@host?channel_max=", "channel_max"),
        ("amqp://u:hush@host?connection_timeout=1.5", "connection_timeout"),
        ("amqp://u:hush@host?connection_timeout=0", "connection_timeout"),
        ("amqp://u:hush/more@host", "port"), ("amqp://u:hush?more@host", "port"),
        ("amqp://u:hush@a,,b", "empty"), ("amqp://u:hush@a,", "empty"), ("amqp://u:hush@,a", "empty"),
        ("amqp://u:hush@a,b:x", "port"), ("amqp://u:hush@a?heartbeat=+1", "heartbeat"),
        ("amqp://u:hush@a?heartbeat=99999999999999999999", "heartbeat"),
        ("amqp://u:hush@a?auth_mechanism=hush", "auth_mechanism"), ("amqp://u:hush@a?heartbeat=%", "percent"),
        ("amqp://u:hush@a?cacertfile=/hush", "amqps"), ("amqp://u:hush@a?certfile=/hush", "amqps"),
        ("amqp://u:hush@a?keyfile=/hush", "amqps"), ("amqp://u:hush@a?verify=verify_peer", "amqps"),
        ("amqp://u:hush@a?server_name_indication=hush", "amqps"), ("amqps://u:hush@a?verify=hush", "verify_peer"),
        ("amqps://u:hush@a?keyfile=/hush", "certfile"), ("amqps://u:hush@a?cacertfile=", "cacertfile"),
    ])
    func errorsSayWhichPartIsWrongAndNothingSecret(uri: String, part: String) async throws {
        let error = await failure { () async throws(AMQPError) in try AMQPConfiguration(uri: uri) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
        #expect(error?.description.contains("hush") == false)
    }
}
