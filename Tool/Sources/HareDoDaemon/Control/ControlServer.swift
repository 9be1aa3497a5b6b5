// SPDX-License-Identifier: Apache-2.0
import HareDo

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Answers what is signed with the daemon's key, and nothing else.
actor ControlServer {
    typealias Perform = @Sendable (ControlRequest) async throws -> ConfigurationValue

    private let signature: ControlSignature
    private let logger: Logger
    private let perform: Perform
    private var nonces = NonceMemory()
    /// Commands that were refused since the start.
    private(set) var refused = 0

    init(key: String, logger: Logger, perform: @escaping Perform) {
        self.signature = ControlSignature(key: key)
        self.logger = logger
        self.perform = perform
    }

    /// The queue of an instance.
    static func queue(of instance: String) -> String { "haredo.control." + instance }

    /// - Throws: `ServiceError` for whoever has no business here.
    func answer(_ message: Message) async throws -> Reply? {
        let body = Array(message.data)
        guard let mac = message.headers[ControlSignature.macHeader]?.string,
            let nonce = message.headers[ControlSignature.nonceHeader]?.string, 1...64 ~= nonce.utf8.count,
            let time = message.headers[ControlSignature.timeHeader]?.int.map(Int64.init)
        else { throw self.refuse(message, "unsigned", "the command is not signed") }
        guard ControlSignature.isEqual(mac, self.signature.mac(request: body, time: time, nonce: nonce)) else {
            throw self.refuse(message, "wrong-key", "the command is signed with another key")
        }
        // Whoever sent it has the key; so it may be told more.
        switch self.nonces.see(nonce, time: time, now: Int64(Date().timeIntervalSince1970)) {
        case .fresh: break
        case .replayed: throw self.refuse(message, "replayed", "the command was sent before")
        case .tooOld:
            throw self.refuse(
                message, "too-old",
                "the command's time is more than \(NonceMemory.window) s from the daemon's: set the clocks")
        case .tooMany: throw self.refuse(message, "too-many", "there are too many commands: try again in a minute")
        }
        var response = ControlResponse()
        do {
            let request = try JSONDecoder().decode(ControlRequest.self, from: Data(body))
            response.result = try await self.perform(request)
        } catch let error as DecodingError {
            response.error = "the command is no command: \(error)"
        } catch let error as HareDoError {
            response.error = error.message
        } catch let error as ServiceError {
            response.error = error.text
        } catch {
            response.error = "\(error)"
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let data = Bytes(try encoder.encode(response))
        var reply = Reply(
            data,
            headers: [ControlSignature.macHeader: .string(self.signature.mac(response: Array(data), nonce: nonce))])
        reply.contentType = "application/json"
        return reply
    }

    private func refuse(_ message: Message, _ code: String, _ text: String) -> ServiceError {
        self.refused += 1
        self.logger.warning(
            "a command was refused",
            metadata: ["reason": "\(code)", "sender": "\(message.verifiedSender ?? "unknown")"])
        return ServiceError(code, text, isFinal: true)
    }
}
