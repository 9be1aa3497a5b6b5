// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix

/// What the operating system's errors mean, in a few words.
enum ConnectFailure {
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
