// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

/// A state of the assembler, by the frames that lead to it.
enum AssemblerState: String, CaseIterable, Sendable {
    case idle, awaitsHeader, awaitsBody, awaitsRestOfBody
}

enum AssemblerEvent: String, CaseIterable, Sendable {
    case plainMethod, contentMethod
    case header, emptyHeader, headerOfOtherClass, headerTooLarge
    case emptyFragment, fragment, lastFragment, fragmentTooLong
}

/// What has to come of it.
enum AssemblerResult: Hashable, Sendable {
    case method, incomplete, emptyContent, content
    case error(AMQPWireError.Code)
}

struct AssemblerCase: Sendable, CustomTestStringConvertible {
    var state: AssemblerState
    var event: AssemblerEvent
    var result: AssemblerResult
    /// Whether a content is open afterwards.
    var isAssembling: Bool

    var testDescription: String { "\(self.event.rawValue) when \(self.state.rawValue)" }

    static let all: [AssemblerCase] = AssemblerState.allCases.flatMap { state in
        AssemblerEvent.allCases.map { event in
            let (result, isAssembling) = expected(state, event)
            return AssemblerCase(state: state, event: event, result: result, isAssembling: isAssembling)
        }
    }

    private static func expected(_ state: AssemblerState, _ event: AssemblerEvent) -> (AssemblerResult, Bool) {
        switch (state, event) {
        case (.idle, .plainMethod): (.method, false)
        case (.idle, .contentMethod): (.incomplete, true)
        case (.idle, .emptyFragment): (.incomplete, false)
        case (.idle, _): (.error(.unexpectedFrame), false)
        case (.awaitsHeader, .header): (.incomplete, true)
        case (.awaitsHeader, .emptyHeader): (.emptyContent, false)
        case (.awaitsHeader, .headerTooLarge): (.error(.bodyTooLarge), true)
        case (.awaitsHeader, _): (.error(.unexpectedFrame), true)
        case (.awaitsBody, .emptyFragment), (.awaitsRestOfBody, .emptyFragment): (.incomplete, true)
        case (.awaitsBody, .fragment), (.awaitsRestOfBody, .fragment): (.incomplete, true)
        case (.awaitsBody, .lastFragment), (.awaitsRestOfBody, .lastFragment): (.content, false)
        case (.awaitsBody, .fragmentTooLong), (.awaitsRestOfBody, .fragmentTooLong): (.error(.malformedFrame), true)
        case (.awaitsBody, _), (.awaitsRestOfBody, _): (.error(.unexpectedFrame), true)
        }
    }
}

@Suite("Putting content together")
struct ContentAssemblerTests {
    private static let deliver = AMQPMethod.basicDeliver(
        .init(consumerTag: "c", deliveryTag: 1, exchange: "e", routingKey: "r"))
    private static let properties = ByteBuffer(bytes: [0, 0])

    private func header(_ size: UInt64, classID: UInt16 = 60) -> AMQPContentHeader {
        AMQPContentHeader(classID: classID, bodySize: size, properties: Self.properties)
    }

    private func apply(_ event: AssemblerEvent, to assembler: inout AMQPContentAssembler, missing: Int)
        throws(AMQPWireError) -> AMQPContentAssembler.Outcome
    {
        switch event {
        case .plainMethod: try assembler.received(.basicQosOk(.init()))
        case .contentMethod: try assembler.received(Self.deliver)
        case .header: try assembler.received(self.header(10))
        case .emptyHeader: try assembler.received(self.header(0))
        case .headerOfOtherClass: try assembler.received(self.header(10, classID: 50))
        case .headerTooLarge: try assembler.received(self.header(101))
        case .emptyFragment: try assembler.received(body: ByteBuffer())
        case .fragment: try assembler.received(body: ByteBuffer(string: "x"))
        case .lastFragment: try assembler.received(body: ByteBuffer(repeating: 0x78, count: missing))
        case .fragmentTooLong: try assembler.received(body: ByteBuffer(repeating: 0x78, count: missing + 1))
        }
    }

    @Test("Every frame in every state", arguments: AssemblerCase.all)
    func everyStateAndEvent(sample: AssemblerCase) throws {
        var assembler = AMQPContentAssembler(maximumBodySize: 100)
        if sample.state != .idle { #expect(try assembler.received(Self.deliver) == .incomplete) }
        if [.awaitsBody, .awaitsRestOfBody].contains(sample.state) {
            #expect(try assembler.received(self.header(10)) == .incomplete)
        }
        if sample.state == .awaitsRestOfBody {
            #expect(try assembler.received(body: ByteBuffer(string: "xxx")) == .incomplete)
        }
        #expect(assembler.isAssembling == (sample.state != .idle))

        let result: AssemblerResult
        do {
            switch try self.apply(sample.event, to: &assembler, missing: sample.state == .awaitsRestOfBody ? 7 : 10) {
            case .method(let method):
                #expect(method == .basicQosOk(.init()))
                result = .method
            case .incomplete: result = .incomplete
            case .content(let content):
                #expect(content.method == Self.deliver)
                #expect(content.header.properties == Self.properties)
                #expect(content.body == ByteBuffer(repeating: 0x78, count: Int(content.header.bodySize)))
                result = content.header.bodySize == 0 ? .emptyContent : .content
            }
        } catch {
            result = .error(error.code)
        }
        #expect(result == sample.result)
        #expect(assembler.isAssembling == sample.isAssembling)
    }

    @Test("The largest body accepted is accepted, one byte more is not", arguments: [0, 1, 100, 1 << 40] as [UInt64])
    func bodyLimit(limit: UInt64) throws {
        var assembler = AMQPContentAssembler(maximumBodySize: limit)
        _ = try assembler.received(Self.deliver)
        #expect(throws: AMQPWireError.self) { try assembler.received(self.header(limit + 1)) }
        if limit <= 100 {
            var other = AMQPContentAssembler(maximumBodySize: limit)
            _ = try other.received(Self.deliver)
            #expect(throws: Never.self) { try other.received(self.header(limit)) }
        }
    }

    @Test("No limit lets through what memory cannot hold", arguments: [UInt64(UInt32.max), 1 << 32, .max])
    func bufferLimit(size: UInt64) throws {
        var assembler = AMQPContentAssembler(maximumBodySize: .max)
        _ = try assembler.received(Self.deliver)
        let error = #expect(throws: AMQPWireError.self) { try assembler.received(self.header(size)) }
        #expect(error?.code == .bodyTooLarge)
    }

    @Test("A body is put together of its fragments", arguments: [1, 2, 3, 7, 100, 1000])
    func fragments(fragmentSize: Int) throws {
        let body = ByteBuffer(bytes: (0..<1000).map { UInt8(truncatingIfNeeded: $0) })
        var assembler = AMQPContentAssembler(maximumBodySize: 1000)
        for _ in 0..<2 {
            _ = try assembler.received(Self.deliver)
            _ = try assembler.received(self.header(1000))
            var rest = body
            var outcome = AMQPContentAssembler.Outcome.incomplete
            while let fragment = rest.readSlice(length: min(fragmentSize, rest.readableBytes)),
                fragment.readableBytes > 0
            {
                #expect(outcome == .incomplete)
                outcome = try assembler.received(body: fragment)
            }
            guard case .content(let content) = outcome else {
                Issue.record("expected content")
                return
            }
            #expect(content.method == Self.deliver)
            #expect(content.header == self.header(1000))
            #expect(content.body == body)
            #expect(!assembler.isAssembling)
        }
    }

    @Test("A body of one fragment is not copied")
    func oneFragment() throws {
        let body = ByteBuffer(repeating: 1, count: 100)
        var assembler = AMQPContentAssembler(maximumBodySize: 100)
        _ = try assembler.received(Self.deliver)
        _ = try assembler.received(self.header(100))
        guard case .content(let content) = try assembler.received(body: body) else {
            Issue.record("expected content")
            return
        }
        #expect(content.body.address == body.address)
    }

    @Test("An announced body costs nothing before it comes")
    func announcement() throws {
        var assembler = AMQPContentAssembler(maximumBodySize: 1 << 30)
        _ = try assembler.received(Self.deliver)
        _ = try assembler.received(self.header(1 << 30))
        let copy = assembler
        #expect(try assembler.received(body: ByteBuffer(string: "x")) == .incomplete)
        #expect(copy.isAssembling)
    }

    @Test("Errors name the method whose content it was")
    func errorsNameTheMethod() throws {
        var assembler = AMQPContentAssembler(maximumBodySize: 5)
        _ = try assembler.received(Self.deliver)
        let wrongClass = #expect(throws: AMQPWireError.self) { try assembler.received(self.header(1, classID: 50)) }
        #expect(wrongClass?.method == .basicDeliver)
        #expect(wrongClass?.replyCode == 505)
        let tooLarge = #expect(throws: AMQPWireError.self) { try assembler.received(self.header(6)) }
        #expect(tooLarge?.method == .basicDeliver)
        _ = try assembler.received(self.header(5))
        let tooLong = #expect(throws: AMQPWireError.self) {
            try assembler.received(body: ByteBuffer(string: "123456"))
        }
        #expect(tooLong?.method == .basicDeliver)
        #expect(tooLong?.replyCode == 501)
        let method = #expect(throws: AMQPWireError.self) { try assembler.received(.basicQosOk(.init())) }
        #expect(method?.method == .basicQosOk)
    }
}
