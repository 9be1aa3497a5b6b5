// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Testing

extension ToolTests {
    @Test(
        "The original's example file runs: its module brings a database, its plugin `log` writes into it",
        .enabled(if: isLinux), arguments: TestBroker.available)
    func daemonExample(broker: TestBroker) async throws {
        try await broker.run { url in
            try await DaemonPlace.with { place in
                let manager = FileManager.default
                for (fixture, path) in [
                    ("vaqueroconfig", "vaquero/service/libconfig.so"), ("vaquerolog", "mylib/plugins/liblog.so"),
                ] {
                    let destination = URL(filePath: place.folder + "/" + path)
                    try manager.createDirectory(
                        at: destination.deletingLastPathComponent(), withIntermediateDirectories: true)
                    try manager.copyItem(at: PluginFolder.fixture(fixture), to: destination)
                }
                let port = try #require(URLComponents(string: url)?.port)
                let queue = uniqueQueue()
                try place.write(
                    OriginalFile.text(
                        queue: queue, port: port, modules: ["vaquero/service/config"],
                        services: OriginalFile.echo + OriginalFile.log))
                let environment = place.environment.merging(["VAQUERO_DATABASES": place.folder]) { $1 }
                func call(_ headers: Headers, _ text: String) async throws -> String? {
                    try await Peer.with(.url(url)) { client in
                        try await client.call(queue, headers: headers, data: text, timeout: .seconds(10))?.text
                    }
                }
                for word in ["juji", "fruit"] {
                    let start = try await haredo(["start"], environment: environment)
                    #expect(start.status == 0, "\(start.error)")
                    #expect(start.error.contains("module 'vaquero/service/config': loaded"))
                    #expect(start.error.contains("plugin 'log': loaded (\(place.folder)/mylib/plugins/liblog.so)"))
                    #expect(try await place.status()["plugins"] == ["echo", "log"])
                    #expect(try await call(["uuid": "echo"], "jujifruit") == "jujifruit")
                    #expect(try await call(["uuid": "log"], word) == "logged")
                    if word == "fruit" { #expect(try await call(["uuid": "log", "read": true], "") == "juji,fruit") }
                    #expect(try await place.haredo("stop").status == 0)
                }
                let file = try #require(manager.contents(atPath: place.folder + "/vaquero.sqlite"))
                #expect(file.starts(with: Data("SQLite format 3\0".utf8)))
            }
        }
    }
}
