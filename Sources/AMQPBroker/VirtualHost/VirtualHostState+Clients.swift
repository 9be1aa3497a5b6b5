// SPDX-License-Identifier: Apache-2.0

/// Connections and channels come and go.
extension VirtualHostState {
    mutating func addClient(_ client: BrokerClient) -> ClientID { self.clients.insert(client) }

    /// Everything of a connection goes: channels, consumers, exclusive queues.
    ///
    /// What it had not acknowledged is requeued.
    mutating func removeClient(_ id: ClientID) {
        guard let client = self.clients[id] else { return }
        self.removeChannels(Array(client.channels))
        for queue in self.clients[id]?.exclusiveQueues ?? [] { self.deleteQueue(queue) }
        self.clients.remove(id)
    }

    mutating func openChannel(_ number: UInt16, of client: ClientID) -> ChannelID? {
        guard let output = self.clients[client]?.output, let user = self.clients[client]?.user else { return nil }
        let channel = self.channels.insert(
            BrokerChannel(connection: client, number: number, output: output, user: user))
        self.clients[client]?.channels.insert(channel)
        return channel
    }

    mutating func closeChannel(_ id: ChannelID) {
        self.sendConfirms(of: id)
        self.removeChannels([id])
    }

    /// In this order: no consumer of these channels may get what they give back, and a queue that deletes itself has to
    /// be there still to take it.
    private mutating func removeChannels(_ ids: [ChannelID]) {
        var deleted: [QueueID] = []
        var left: Set<QueueID> = []
        for id in ids {
            for consumer in self.channels[id]?.consumers.values ?? [:].values {
                if let queue = self.consumers[consumer]?.queue { left.insert(queue) }
                if let queue = self.detachConsumer(consumer) { deleted.append(queue) }
            }
            if let address = self.channels[id]?.replyConsumer?.address { self.replyAddresses[address] = nil }
        }
        for id in ids {
            self.abandonTransaction(of: id)
            let deliveries = self.channels[id]?.unacked.takeAll() ?? []
            if let client = self.channels[id]?.connection { self.clients[client]?.channels.remove(id) }
            self.channels.remove(id)
            self.requeue(deliveries, isCounted: self.countsEveryReturn)
        }
        for queue in deleted { self.deleteQueue(queue) }
        for queue in left { self.deliver(from: queue) }
    }

    // MARK: - Back-pressure

    /// A connection does not read what it got: its consumers wait.
    mutating func pauseClient(_ id: ClientID) {
        guard self.clients[id]?.isPaused == false else { return }
        self.clients[id]?.isPaused = true
        self.forEachConsumer(of: id) { state, consumer, queue in
            state.queues[queue]?.hold(consumer, .connection)
        }
    }

    /// The connection has read it: deliveries go on.
    mutating func resumeClient(_ id: ClientID) {
        guard self.clients[id]?.isPaused == true else { return }
        self.clients[id]?.isPaused = false
        var queues: Set<QueueID> = []
        self.forEachConsumer(of: id) { state, consumer, queue in
            state.queues[queue]?.free(consumer, .connection)
            queues.insert(queue)
        }
        for queue in queues { self.deliver(from: queue) }
    }

    private mutating func forEachConsumer(
        of client: ClientID, _ body: (inout VirtualHostState, ConsumerID, QueueID) -> Void
    ) {
        for channel in self.clients[client]?.channels ?? [] {
            for consumer in self.channels[channel]?.consumers.values ?? [:].values {
                guard let queue = self.consumers[consumer]?.queue else { continue }
                body(&self, consumer, queue)
            }
        }
    }
}
