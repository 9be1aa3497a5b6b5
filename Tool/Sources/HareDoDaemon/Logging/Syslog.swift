// SPDX-License-Identifier: Apache-2.0
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

/// The system's log: the journal, where it listens on /dev/log, or another. Where there is none, nothing is written.
enum Syslog {
    static func write(_ level: Logger.Level, _ line: String) {
        let priority: Int32 =
            switch level {
            case .trace, .debug: LOG_DEBUG
            case .info: LOG_INFO
            case .notice: LOG_NOTICE
            case .warning: LOG_WARNING
            case .error: LOG_ERR
            case .critical: LOG_CRIT
            }
        line.withCString { text in withVaList([text]) { vsyslog(priority | LOG_DAEMON, "%s", $0) } }
    }
}
