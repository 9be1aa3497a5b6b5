// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

/// What every command understands.
struct CommonOptions: ParsableArguments {
    @Flag(name: .long, help: "Log what happens, at level debug, to standard error. Default: warnings only.")
    var verbose = false

    /// Sets logging up. To be called once, before anything logs.
    func apply() {
        let level: Logger.Level = self.verbose ? .debug : .notice
        LoggingSystem.bootstrap { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = level
            return handler
        }
    }
}
