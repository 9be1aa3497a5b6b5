// SPDX-License-Identifier: Apache-2.0
public import HareDo

/// A mistake: it links HareDo itself in place of HareDoDynamic, and so brings its own.
public struct Copy: Plugin {
    public static let uuid = "copy"
    public init(_ context: PluginContext) {}
    public func process(_ message: Message) -> Reply? { nil }
}

@c(haredo_plugin_main) public func haredoPluginMain() -> UnsafeRawPointer { exportPlugin(Copy.self) }
