// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import DequeModule

/// What queues give up goes to their dead-letter exchanges (RabbitMQ's extension).
extension VirtualHostState {
    /// A message on its way from the queue where it died.
    struct Letter: Sendable {
        let dead: DeadMessage
        let queue: String
        let destination: QueueProperties.DeadLetter
    }

    /// Sends on what a queue gave up. One death may cause others: they wait their turn, so that none nests in another.
    mutating func deadLetter(from queue: QueueID) {
        guard let dead = self.queues[queue]?.takeDead(), !dead.isEmpty,
            let name = self.queues[queue]?.name, let destination = self.queues[queue]?.properties.deadLetter
        else { return }
        for message in dead { self.letters.append(Letter(dead: message, queue: name, destination: destination)) }
        guard !self.isSendingLetters else { return }
        self.isSendingLetters = true
        while let letter = self.letters.popFirst() { self.send(letter) }
        self.isSendingLetters = false
    }

    /// An exchange that is not there takes nothing, and nobody is told.
    private mutating func send(_ letter: Letter) {
        let exchange = letter.destination.exchange
        guard exchange.isEmpty || self.routing[exchange] != nil,
            let message = letter.dead.letter(
                from: letter.queue, to: letter.destination, time: self.time,
                compatibility: self.settings.compatibility, memory: self.settings.memory)
        else { return }
        var headers: AMQPTable?
        for route in self.routes(of: message) {
            if case .queue(let queue) = route {
                let table = headers ?? (try? AMQPBasicProperties(decoding: message.properties))?.headers ?? [:]
                headers = table
                guard let name = self.queues[queue]?.name, !DeadMessage.isCycle(to: name, headers: table) else {
                    continue
                }
            }
            _ = self.accept(message, [route])
        }
    }
}
