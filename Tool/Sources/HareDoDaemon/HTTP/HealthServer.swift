// SPDX-License-Identifier: Apache-2.0
import FlyingFox
import FlyingSocks
import HareDo

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Tells programs on this machine over HTTP how the daemon is: `/health/live`, `/health/ready` and `/metrics`. On loopback
/// only: the server trusts who asks it not to ask without end.
struct HealthServer: Sendable {
    private let server: HTTPServer
    private let running: Task<Void, Never>

    /// - Throws: if the port is taken.
    static func start(
        port: Int, logger: Logger, _ statistics: @escaping @Sendable () async -> DaemonStatistics?
    ) async throws(DaemonFailure) -> HealthServer {
        func failure(_ reason: String) -> DaemonFailure {
            DaemonFailure(
                "cannot listen for HTTP on port \(port) of this machine ('daemon.http'): \(reason)", .unavailable)
        }
        let address: sockaddr_in
        do {
            address = try .inet(ip4: "127.0.0.1", port: UInt16(clamping: port))
        } catch {
            throw failure("\(error)")
        }
        let server = HTTPServer(address: address, timeout: 5, logger: .disabled)
        await Self.addRoutes(to: server, statistics)
        // Whichever is first: it listens, or it cannot.
        let (outcomes, outcome) = AsyncStream<(any Error)?>.makeStream()
        let running = Task {
            do {
                try await server.run()
            } catch is CancellationError {
                // Stopped.
            } catch {
                outcome.yield(error)
                logger.debug("no longer listening for HTTP", metadata: ["error": "\(error)"])
            }
            outcome.finish()
        }
        let listening = Task {
            do {
                try await server.waitUntilListening(timeout: 5)
                outcome.yield(nil)
            } catch {
                outcome.yield(error)
            }
        }
        let error = await outcomes.first { _ in true } ?? nil
        listening.cancel()
        let started = HealthServer(server: server, running: running)
        if let error {
            await started.stop()
            if case SocketError.failed(_, let code, _) = error {
                throw failure(code == EADDRINUSE ? "it is taken" : String(cString: strerror(code)))
            }
            throw failure("\(error)")
        }
        return started
    }

    private static func addRoutes(
        to server: HTTPServer, _ statistics: @escaping @Sendable () async -> DaemonStatistics?
    ) async {
        // Whoever answers lives.
        await server.appendRoute("GET,HEAD /health/live") { _ in Self.response(.ok, "live\n") }
        await server.appendRoute("GET,HEAD /health/ready") { _ in
            guard let statistics = await statistics() else { return Self.response(.serviceUnavailable, "ended\n") }
            guard !statistics.isReady else { return Self.response(.ok, "ready\n") }
            let reason = statistics.phase == .running ? "not healthy" : statistics.phase.rawValue
            return Self.response(.serviceUnavailable, "not ready: \(reason)\n")
        }
        await server.appendRoute("GET,HEAD /metrics") { _ in
            guard let statistics = await statistics() else { return Self.response(.serviceUnavailable, "ended\n") }
            return Self.response(.ok, PrometheusText(statistics).text, as: PrometheusText.contentType)
        }
    }

    private static func response(
        _ status: HTTPStatusCode, _ text: String, as contentType: String = "text/plain; charset=utf-8"
    ) -> HTTPResponse {
        HTTPResponse(
            statusCode: status, headers: [.contentType: contentType, .cacheControl: "no-store"], body: Data(text.utf8))
    }

    func stop() async {
        await self.server.stop(timeout: 1)
        self.running.cancel()
        await self.running.value
    }
}
