// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import AMQPWire

/// What a peer answers those with who look for services: a queue of its own, bound to the exchange that all ask through.
final class DiscoveryResponder: Sendable {
    let channel: AMQPChannel
    let queue: String

    init(channel: AMQPChannel, queue: String) {
        self.channel = channel
        self.queue = queue
    }
}

extension Peer {
    /// Headers of a question to services.
    private enum Question {
        static let kind = "haredo-question"
        static let name = "haredo-service-name"
        static let instance = "haredo-service-instance"
    }

    /// Asks the running services who they are.
    ///
    /// - Parameters:
    ///   - selection: which ones are asked.
    ///   - question: how much they are asked.
    ///   - limit: how long answers are gathered. How many services there are nobody knows, so that it takes as long as this
    ///     unless there is a quorum.
    ///   - quorum: how many answers are enough.
    /// - Returns: one report of each service that answered.
    /// - Throws: as ``callAll(_:headers:data:within:quorum:)``.
    public nonisolated func services(
        _ selection: ServiceSelection = .all, asking question: ServiceQuestion = .info,
        within limit: Duration = .seconds(1), quorum: Int? = nil
    ) async throws(HareDoError) -> [ServiceReport] {
        var headers: Headers = [Question.kind: .string(question.rawValue)]
        switch selection {
        case .all: break
        case .named(let name): headers[Question.name] = .string(name)
        case .instance(let id): headers[Question.instance] = .string(id)
        }
        let replies = try await self.callAll(
            selection.routingKey, exchange: try self.exchangeNames().discovery, headers: headers, bytes: Bytes(),
            contentType: nil, within: limit, quorum: quorum)
        // Whoever answers with something else is not one of ours.
        return replies.compactMap { try? JSONFormat().decode(ServiceReport.self, from: $0.data) }
    }

    /// Sees to it that a service is found. It serves just as well without, where the broker refuses this.
    func announce(_ core: ServiceCore, _ link: PeerLink) async {
        guard self.configuration.isDiscoverable else { return }
        do throws(HareDoError) {
            let exchange = try self.exchangeNames().discovery
            let responder = try await self.responder(exchange, link)
            do throws(AMQPError) {
                for selection in [ServiceSelection.named(core.name), .instance(core.instance)] {
                    try await responder.channel.bindQueue(
                        responder.queue, to: exchange, routingKey: selection.routingKey)
                }
            } catch {
                throw HareDoError(error)
            }
        } catch {
            self.logger.info(
                "a service cannot be found by those who look for services",
                metadata: core.metadata.merging(["error": "\(error.message)"]) { $1 })
        }
    }

    private func responder(_ exchange: String, _ link: PeerLink) async throws(HareDoError) -> DiscoveryResponder {
        if let discovery { return discovery }
        try await self.ensure(exchange, on: link)
        let queue = try self.exchangeNames().ownQueue(for: "discovery")
        do throws(AMQPError) {
            let channel = try await link.connection.openChannel()
            do throws(AMQPError) {
                try await channel.declareQueue(queue, exclusive: true)
                try await channel.bindQueue(queue, to: exchange, routingKey: ServiceSelection.all.routingKey)
                _ = try await channel.consume(
                    queue, acknowledgement: .automatic,
                    sink: ClosureSink { delivery in self.assumeIsolated { $0.asked(delivery, link) } })
            } catch {
                await channel.close()
                throw error
            }
            // Another service of this peer may have been faster: then there is one too many, which does no harm.
            if let discovery {
                await channel.close()
                return discovery
            }
            let responder = DiscoveryResponder(channel: channel, queue: queue)
            self.discovery = responder
            return responder
        } catch {
            throw HareDoError(error)
        }
    }

    /// Somebody looks for services.
    private func asked(_ delivery: AMQPDelivery, _ link: PeerLink) {
        guard let address = delivery.properties.replyTo, !address.isEmpty,
            let question = delivery.properties.headers?[Question.kind]?.string.flatMap(ServiceQuestion.init)
        else { return }
        let headers = delivery.properties.headers ?? [:]
        let selection: ServiceSelection =
            if let name = headers[Question.name]?.string {
                .named(name)
            } else if let instance = headers[Question.instance]?.string {
                .instance(instance)
            } else {
                .all
            }
        for core in self.services.values where core.isRunning {
            guard selection.includes(name: core.name, instance: core.instance) else { continue }
            do {
                let reply = try Reply(ServiceReport(core, of: self.name, question), in: JSONFormat())
                let message = try reply.message(to: delivery.properties, user: link.user)
                // Where there is no room for it, the question is asked again.
                _ = try link.sending.publishIfRoom(message, routingKey: address, mandatory: false)
            } catch {
                self.logger.debug("a question could not be answered", metadata: ["error": "\(error)"])
            }
        }
    }
}
