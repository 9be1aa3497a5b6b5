// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import NIOSSL

/// What the operating system's errors mean, in a few words.
enum ConnectFailure {
    /// Why there is no connection to `address`, after ``Connector`` failed.
    static func error(_ error: any Error, address: AMQPConfiguration.Address) -> AMQPError {
        if let error = Self.own(error) { return error }
        return AMQPError(
            Self.isTimeout(error) ? .connectTimedOut : .connectFailed,
            "no broker at \(address) (\(Self.describe(error)))", cause: error)
    }

    /// An error that was put into words where it happened.
    static func own(_ error: any Error) -> AMQPError? {
        switch error {
        case let error as AMQPError: error
        case let error as NIOConnectionError: error.connectionErrors.last.flatMap { Self.own($0.error) }
        default: nil
        }
    }

    /// Whether the time was up, rather than somebody having refused.
    static func isTimeout(_ error: any Error) -> Bool {
        switch error {
        case let error as NIOConnectionError: error.connectionErrors.last.map { Self.isTimeout($0.error) } ?? false
        case ChannelError.connectTimeout: true
        case let error as IOError: error.errnoCode == ETIMEDOUT
        default: false
        }
    }

    static func describe(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            // Every address was tried; the last one's answer stands for all.
            guard let last = error.connectionErrors.last else { return "unknown host" }
            return Self.describe(last.error)
        case let error as ChannelError:
            if case .connectTimeout = error { return "no answer" }
            return "\(error)"
        // Without the farewell that TLS asks for: somebody died, or the network did.
        case NIOSSLError.uncleanShutdown: return "it ended in the middle"
        case let error as BoringSSLError: return "TLS: \(TLSFailure.names(in: "\(error)"))"
        case NIOSSLError.handshakeFailed(let error), NIOSSLError.shutdownFailed(let error):
            return "TLS: \(TLSFailure.names(in: "\(error)"))"
        case let error as AMQPError: return error.message
        case let error as IOError:
            switch error.errnoCode {
            case ECONNREFUSED: return "refused"
            case ECONNRESET, EPIPE: return "connection reset"
            case EHOSTUNREACH, ENETUNREACH: return "unreachable"
            case ETIMEDOUT: return "no answer"
            case ENOENT: return "no such socket"
            case EACCES, EPERM: return "not permitted"
            default: return "\(error)"
            }
        default: return "\(error)"
        }
    }
}

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif
