// SPDX-License-Identifier: Apache-2.0
import HareDo
import HareDoDaemon

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

/// This process as a daemon: from its pid file to its end.
struct DaemonProcess {
    private enum Event: Sendable {
        case signal(UnixSignal)
        case request(Daemon.Request)
        case isReady
        case failed(any Error)
    }

    let options: DaemonOptions

    @concurrent
    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup)
        let first = try self.options.file.read()
        for warning in first.warnings { StandardStreams.complain("warning: \(warning.description)") }
        LoggingSystem.bootstrap { DaemonLogHandler(label: $0, first.logging) }
        let runtime = self.options.runtime
        let path = self.options.file.path
        let instance = Daemon.makeInstance()
        try runtime.prepare()
        let pidFile = try PidFile(self.options.pidPath, instance: instance)
        let key = try first.key ?? runtime.key()
        let daemon = Daemon(
            first, instance: instance, logger: Logger(label: "haredo"),
            report: { line in StandardStreams.complain(line) },
            read: { () throws(ConfigurationProblems) in
                try DaemonConfiguration(path: path, environment: environment)
            })
        try await Self.run(daemon, key: key, signals, SystemdNotifier(environment: environment), environment)
        // Held until here.
        _ = consume pidFile
    }

    private static func run(
        _ daemon: Daemon, key: String, _ signals: UnixSignalsSequence, _ systemd: SystemdNotifier,
        _ environment: [String: String]
    ) async throws {
        let detach: @Sendable () -> Void = {
            systemd.ready()
            if let log = environment[Background.logVariable] { Background.detach(to: log) }
        }
        let (events, continuation) = AsyncStream<Event>.makeStream()
        var failure: (any Error)?
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await signal in signals { continuation.yield(.signal(signal)) } }
            group.addTask { for await request in daemon.requests { continuation.yield(.request(request)) } }
            group.addTask {
                do {
                    try await daemon.start(key: key, waiting: detach)
                    continuation.yield(.isReady)
                } catch {
                    continuation.yield(.failed(error))
                }
            }
            if let interval = systemd.watchdog {
                group.addTask {
                    while (try? await Task.sleep(for: interval)) != nil { systemd.isAlive() }
                }
            }
            failure = await Self.follow(events, daemon, systemd, detach)
            group.cancelAll()
        }
        if let failure { throw failure }
    }

    /// Does what events ask for, until the daemon has ended.
    private static func follow(
        _ events: AsyncStream<Event>, _ daemon: Daemon, _ systemd: SystemdNotifier, _ detach: @Sendable () -> Void
    ) async -> (any Error)? {
        for await event in events {
            switch event {
            case .isReady: detach()
            case .failed(let error): return error
            case .signal(.sighup):
                systemd.reloading()
                do {
                    _ = try await daemon.reload()
                } catch {
                    StandardStreams.complain("nothing was reloaded: \(error)")
                }
                systemd.ready()
            case .request(.stop), .signal:
                systemd.stopping()
                await Self.end(daemon, events)
                return nil
            }
        }
        return nil
    }

    /// Ends the daemon; a signal that comes meanwhile ends the process.
    private static func end(_ daemon: Daemon, _ events: AsyncStream<Event>) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await daemon.end() }
            group.addTask {
                for await event in events {
                    if case .signal(let signal) = event, signal != .sighup { _exit(128 + signal.rawValue) }
                }
            }
            await group.next()
            group.cancelAll()
        }
    }
}
