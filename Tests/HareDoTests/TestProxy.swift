// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOConcurrencyHelpers

#if canImport(Glibc)
    private let streamSocket = Int32(SOCK_STREAM.rawValue)
#else
    private let streamSocket = SOCK_STREAM
#endif
#if canImport(Darwin)
    private let noSignal: Int32 = 0
#else
    private let noSignal = Int32(MSG_NOSIGNAL)
#endif

/// Stands between a peer and its broker, and misbehaves when told to.
///
/// With threads and blocking sockets: it has to work when what is tested does not.
final class TestProxy: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }
    private struct State: Sendable {
        var listener: Int32 = -1
        var sockets: Set<Int32> = []
        var isStalled = false
        var stallsOn: [UInt8]?
    }
    private let state = NIOLockedValueBox(State())
    private let target: (host: String, port: UInt16)
    private let onBytes: (@Sendable (_ areFromClient: Bool, ArraySlice<UInt8>) -> Void)?
    /// The broker's URL with the proxy's address in it.
    let url: String

    /// - Parameters:
    ///   - stallsOn: nothing passes any more, this included, once the client sends these bytes.
    ///   - onBytes: is shown everything that passes, before it does.
    init(
        to url: String, stallsOn: [UInt8]? = nil,
        onBytes: (@Sendable (_ areFromClient: Bool, ArraySlice<UInt8>) -> Void)? = nil
    ) throws {
        guard var parts = URLComponents(string: url), let host = parts.host, let port = parts.port else {
            throw Failure(description: "no address in the broker's URL")
        }
        self.onBytes = onBytes
        self.target = (host == "localhost" ? "127.0.0.1" : host, UInt16(port))
        let listener = socket(AF_INET, streamSocket, 0)
        var address = Self.address("127.0.0.1", 0)
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening =
            withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, length) == 0 }
            } && listen(listener, 16) == 0
        var bound = sockaddr_in()
        var boundLength = length
        let isNamed = withUnsafeMutablePointer(to: &bound) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(listener, $0, &boundLength) == 0 }
        }
        guard isListening, isNamed else { throw Failure(description: "no port to listen on") }
        parts.host = "127.0.0.1"
        parts.port = Int(UInt16(bigEndian: bound.sin_port))
        self.url = parts.string ?? url
        self.state.withLockedValue {
            $0.listener = listener
            $0.stallsOn = stallsOn
        }
        Thread.detachNewThread { self.accept(on: listener) }
    }

    /// Hangs up on everybody who is connected.
    func cut() {
        self.state.withLockedValue { state in
            for socket in state.sockets { shutdown(socket, Int32(SHUT_RDWR)) }
        }
    }

    /// Nothing passes any more, and nobody is told.
    func stall() { self.state.withLockedValue { $0.isStalled = true } }

    /// Everything passes again.
    func resume() {
        self.state.withLockedValue { state in
            state.isStalled = false
            state.stallsOn = nil
        }
    }

    /// Whether that has come about.
    var isStalled: Bool { self.state.withLockedValue { $0.isStalled } }

    func stop() {
        let listener = self.state.withLockedValue { state in
            state.isStalled = false
            return state.listener
        }
        shutdown(listener, Int32(SHUT_RDWR))
        self.cut()
    }

    private static func address(_ host: String, _ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr(host)
        return address
    }

    private func accept(on listener: Int32) {
        while true {
            let client = Foundation.accept(listener, nil, nil)
            guard client >= 0 else { break }
            let server = socket(AF_INET, streamSocket, 0)
            var address = Self.address(self.target.host, self.target.port)
            let isConnected = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            guard isConnected else {
                close(client)
                close(server)
                continue
            }
            self.state.withLockedValue { $0.sockets.formUnion([client, server]) }
            let ends = NIOLockedValueBox(2)
            for (from, to, isClient) in [(client, server, true), (server, client, false)] {
                Thread.detachNewThread {
                    self.forward(from, to, isClient)
                    // The second of the two that ends tidies up.
                    let isLast = ends.withLockedValue { ends in
                        ends -= 1
                        return ends == 0
                    }
                    guard isLast else { return }
                    self.state.withLockedValue { $0.sockets.subtract([client, server]) }
                    close(client)
                    close(server)
                }
            }
        }
        close(listener)
    }

    private func forward(_ from: Int32, _ to: Int32, _ isClient: Bool) {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(from, &buffer, buffer.count)
            guard count > 0 else { break }
            let chunk = buffer[..<count]
            if isClient, let marker = self.state.withLockedValue({ $0.stallsOn }), chunk.firstRange(of: marker) != nil {
                self.stall()
            }
            while self.state.withLockedValue({ $0.isStalled }) { usleep(2000) }
            self.onBytes?(isClient, chunk)
            var sent = 0
            while sent < count {
                let result = buffer[sent..<count].withUnsafeBytes {
                    send(to, $0.baseAddress, $0.count, noSignal)
                }
                guard result > 0 else { break }
                sent += result
            }
            guard sent == count else { break }
        }
        shutdown(from, Int32(SHUT_RDWR))
        shutdown(to, Int32(SHUT_RDWR))
    }
}
