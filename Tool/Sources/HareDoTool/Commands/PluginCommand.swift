// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

struct PluginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plugin",
        abstract: "Writes, checks and lists plugins, and shows those of the running daemon.",
        discussion: """
            A plugin is a shared library that a program of HareDo loads by its name, and whose messages have its name in \
            their header `uuid`.

            Examples:
              haredo plugin new hello
              haredo plugin check .build/debug/libhello.so
              haredo plugin list
              haredo plugin loaded
            """,
        subcommands: [New.self, Check.self, List.self, Loaded.self])

    struct New: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Writes a package that builds a plugin, with a test.",
            discussion: """
                It is written into a new folder with the plugin's name, here. A plugin has to be built against the HareDo \
                of the program that loads it, with the same compiler.

                Examples:
                  haredo plugin new hello
                  haredo plugin new hello --haredo https://example.org/HareDo.git
                """)

        @Argument(help: "Its name: 1 to 64 letters, digits, '-' or '_', the first one a letter.")
        var name: String

        @Option(
            help: ArgumentHelp(
                "The HareDo it is built against: a folder, or a URL of git. Default: the folder that this program was built in.",
                valueName: "path or URL"))
        var haredo: String?

        func run() async throws {
            let source: HareDoSource
            if let haredo = self.haredo {
                source = try HareDoSource(haredo)
            } else if let folder = HareDoSource.ofThisProgram {
                source = folder
            } else {
                throw ToolFailure(
                    "this haredo was not built here: say with --haredo which HareDo the plugin is for, a folder or a URL "
                        + "(https://github.com/haredo/haredo-swift)")
            }
            let package = try PluginPackage(name: self.name, source: source)
            let folder = try package.write()
            try StandardStreams.print(
                """
                written: \(folder)
                next: cd \(folder) && swift build && haredo plugin check .build/debug/lib\(self.name).so
                """)
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Says whether a library can be loaded, and if not, why.",
            discussion: """
                It is loaded as a program would load it, and what it is, is printed. Exits with 1 if it cannot be loaded. \
                Its code is run: check only what you would load.

                Examples:
                  haredo plugin check .build/debug/libhello.so
                """)

        @Argument(help: "The library's file.")
        var file: String

        @Flag(help: "Print one JSON object.")
        var json = false

        @OptionGroup var common: CommonOptions

        func run() async throws {
            self.common.apply()
            let report = CheckedPlugin(file: self.file)
            try StandardStreams.print(self.json ? try JSONLine.of(report) : report.text)
            if report.reason != nil { throw ExitCode(1) }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows which plugins would be found, and where.",
            discussion: """
                Of those with one name the first one is loaded. Whether they can be, `haredo plugin check` says.

                Examples:
                  haredo plugin list
                  haredo plugin list --path /opt/share --prefix mylib/plugins --json
                """)

        @Option(
            help: ArgumentHelp(
                "A folder to look in before those of HAREDO_PLUGIN_PATH, the user's and the system's. May be repeated.",
                valueName: "folder"))
        var path: [String] = []

        @Option(help: ArgumentHelp("Below each folder.", valueName: "folders"))
        var prefix = PluginSearchPath.standardPrefix

        @Flag(help: "Print one JSON object for each plugin.")
        var json = false

        func run() async throws {
            let searchPath = PluginSearchPath.standard(first: self.path, prefix: self.prefix)
            let plugins = ListedPlugin.all(searchPath)
            for line in self.json ? try plugins.map(JSONLine.of) : Columns.aligned(plugins.map(\.columns)) {
                try StandardStreams.print(line)
            }
            guard plugins.isEmpty else { return }
            let looked = searchPath.folders.map { $0 + "/" + searchPath.prefix }
            StandardStreams.complain("there are no plugins in " + looked.joined(separator: ", "))
        }
    }

    struct Loaded: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the plugins of the running daemon, and what they have done.",
            discussion: """
                Exits with 3 if no daemon runs.

                Examples:
                  haredo plugin loaded
                  haredo plugin loaded --json
                """)

        @Flag(help: "Print one JSON object for each plugin.")
        var json = false

        @OptionGroup var daemon: DaemonOptions

        func run() async throws {
            let owner = try self.daemon.requireRunning()
            let answer = try await self.daemon.ask("plugins", of: owner)
            let plugins = try ConfigurationReader(answer, of: "the daemon's answer").decode([PluginInformation].self)
            let table = [LoadedPluginRow.heading] + plugins.map { LoadedPluginRow($0).columns }
            for line in self.json ? try plugins.map(JSONLine.of) : Columns.aligned(table) {
                try StandardStreams.print(line)
            }
        }
    }
}
