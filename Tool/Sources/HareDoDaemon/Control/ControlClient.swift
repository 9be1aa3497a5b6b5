// SPDX-License-Identifier: Apache-2.0
public import HareDo

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Asks a running daemon, by its instance, with its key.
public struct ControlClient: Sendable {
    /// Why there is no result.
    public enum Failure: Error, Sendable {
        /// Nobody answered in time, or nobody is there.
        case noAnswer(String)
        /// The daemon takes no commands from whoever has this key, or the answer is not the daemon's.
        case refused(String)
        /// The daemon could not do it.
        case failed(String)
    }

    private let instance: String
    private let signature: ControlSignature

    /// A client of one daemon.
    public init(instance: String, key: String) {
        self.instance = instance
        self.signature = ControlSignature(key: key)
    }

    /// Has the daemon do something.
    ///
    /// - Parameter timeout: for connection and answer together.
    public func call(
        _ command: String, _ arguments: [String: ConfigurationValue] = [:], through broker: Peer.Configuration,
        within timeout: Duration
    ) async throws(Failure) -> ConfigurationValue {
        let deadline = ContinuousClock.now + timeout
        var broker = broker
        broker.connectTimeout = timeout
        broker.reconnects = false
        let peer = Peer(broker)
        do {
            try await peer.connect()
            let result = try await self.call(
                ControlRequest(command: command, arguments: arguments), peer, max(deadline - .now, .milliseconds(1)))
            await peer.disconnect()
            return result
        } catch {
            await peer.disconnect()
            throw (error as? Failure) ?? .noAnswer((error as? HareDoError)?.message ?? "\(error)")
        }
    }

    private func call(
        _ request: ControlRequest, _ peer: Peer, _ timeout: Duration
    ) async throws -> ConfigurationValue {
        let body = try JSONEncoder().encode(request)
        let nonce = ControlSignature.makeNonce()
        let time = Int64(Date().timeIntervalSince1970)
        let reply = try await self.send(
            body,
            [
                ControlSignature.timeHeader: .integer(time), ControlSignature.nonceHeader: .string(nonce),
                ControlSignature.macHeader: .string(
                    self.signature.mac(request: Array(body), time: time, nonce: nonce)),
            ], peer, timeout)
        guard let reply else { throw Failure.noAnswer("the daemon did not answer within \(timeout)") }
        let mac = reply.headers[ControlSignature.macHeader]?.string ?? ""
        guard ControlSignature.isEqual(mac, self.signature.mac(response: Array(reply.data), nonce: nonce)) else {
            throw Failure.refused("the answer is not signed with the daemon's key: it is somebody else's")
        }
        let response = try JSONDecoder().decode(ControlResponse.self, from: Data(reply.data))
        if let error = response.error { throw Failure.failed(error) }
        return response.result ?? .null
    }

    private func send(
        _ body: Data, _ headers: Headers, _ peer: Peer, _ timeout: Duration
    ) async throws -> Message? {
        do throws(HareDoError) {
            return try await peer.call(
                ControlServer.queue(of: self.instance), headers: headers, data: body, timeout: timeout)
        } catch {
            guard error.code == .remoteFailed else { throw error }
            throw Failure.refused(error.remote?.text ?? error.message)
        }
    }
}
