// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import Testing

@testable import HareDoTool

@Suite("The address of haredo broker")
struct ListenAddressTests {
    @Test(
        "is a host and a port",
        arguments: [
            ("127.0.0.1:5672", "127.0.0.1", 5672), ("localhost:0", "localhost", 0), (":65535", "127.0.0.1", 65535),
            ("0.0.0.0:1", "0.0.0.0", 1), ("[::1]:5672", "::1", 5672),
        ])
    func tcp(text: String, host: String, port: Int) throws {
        #expect(try ListenAddress(text).address == .tcp(host: host, port: port))
    }

    @Test(
        "or the path of a Unix-domain socket",
        arguments: [
            ("unix:/run/haredo.sock", "/run/haredo.sock"), ("unix:here", "here"), ("/tmp/a:5", "/tmp/a:5"),
        ])
    func unix(text: String, path: String) throws {
        #expect(try ListenAddress(text).address == .unixDomainSocket(path: path))
    }

    @Test(
        "and nothing else",
        arguments: [
            "", "localhost", "5672", "localhost:", "localhost:x", "localhost:65536", "localhost:-1", "localhost:+1",
            "::1:5672", "[::1]", "[::1", "[localhost]:1", "a]:1", "unix:", "unix:" + String(repeating: "x", count: 108),
        ])
    func refused(text: String) {
        #expect(throws: ToolFailure.self) { try ListenAddress(text) }
    }

    @Test("reads as it is written", arguments: ["127.0.0.1:5672", "[::1]:0", "unix:/tmp/x"])
    func description(text: String) throws {
        #expect(try ListenAddress(text).description == text)
    }
}
