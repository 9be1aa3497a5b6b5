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
    ])
    func examples(_ example: Example) throws {
        let configuration = try AMQPConfiguration(uri: example.uri)
        #expect(configuration.address == .tcp(host: example.host, port: example.port))
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
        ("", "scheme"), ("host", "scheme"), ("amqp:host", "scheme"), ("u:hush@host", "scheme"),
        ("amqps://u:hush@host", "TLS"), ("http://u:hush@host", "scheme"), ("hush://host", "scheme"),
        ("amqp://u:hush@host:0", "port"), ("amqp://u:hush@host:65536", "port"), ("amqp://u:hush@host:x", "port"),
        ("amqp://u:hush@host:-1", "port"), ("amqp://u:hush@host:+1", "port"), ("amqp://u:hush@host:1 ", "port"),
        ("amqp://u:hush@host/a/b", "slash"), ("amqp://u:hush@[::1", "bracket"), ("amqp://u:hush@[::1]x", "IPv6"),
        ("amqp://u:hush@::1", "IPv6"), ("amqp://u:hush@a:b:1", "IPv6"),
        ("amqp://u:hush%@host", "percent"), ("amqp://u:hush%4@host", "percent"), ("amqp://u:hush%zz@host", "percent"),
        ("amqp://u:hush%ff@host", "percent"), ("amqp://%ff:hush@host", "percent"), ("amqp://u:hush@h%xy", "percent"),
        ("amqp://u:hush@host/%", "percent"), ("amqp://u:hush@host?heartbeat=x", "heartbeat"),
        ("amqp://u:hush@host?heartbeat=-1", "heartbeat"), ("amqp://u:hush@host?channel_max=", "channel_max"),
        ("amqp://u:hush@host?connection_timeout=1.5", "connection_timeout"),
        ("amqp://u:hush/more@host", "port"), ("amqp://u:hush?more@host", "port"),
    ])
    func errorsSayWhichPartIsWrongAndNothingSecret(uri: String, part: String) async throws {
        let error = await failure { () async throws(AMQPError) in try AMQPConfiguration(uri: uri) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
        #expect(error?.description.contains("hush") == false)
    }
}
