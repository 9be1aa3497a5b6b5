// SPDX-License-Identifier: Apache-2.0
public import CHareDoPlugin

/// What the one exported function of a plugin's library returns:
///
/// ```swift
/// @c(haredo_plugin_main) public func main() -> UnsafeRawPointer { exportPlugin(Echo.self) }
/// ```
///
/// It has to be `public`, or it is not exported. What it returns says what the plugin was built with; so all of this is
/// compiled into the plugin, and not called.
@_alwaysEmitIntoClient
public func exportPlugin<Exported: Plugin>(_ type: Exported.Type) -> UnsafeRawPointer {
    unsafe UnsafeRawPointer(
        haredo_describe(
            UInt32(HAREDO_KIND_PLUGIN), PluginLayouts.fingerprint(),
            unsafeBitCast(type as Any.Type, to: UnsafeRawPointer.self)))
}

/// The same for a module of the daemon, from the function `haredo_module_main`.
@_alwaysEmitIntoClient
public func exportModule<Exported: DaemonModule>(_ type: Exported.Type) -> UnsafeRawPointer {
    unsafe UnsafeRawPointer(
        haredo_describe(
            UInt32(HAREDO_KIND_MODULE), PluginLayouts.fingerprint(),
            unsafeBitCast(type as Any.Type, to: UnsafeRawPointer.self)))
}

/// How the types look that cross the border between a program and its plugins. Two builds that do not agree about that
/// read each other's memory as something else; HareDo's own version does not tell, because what it depends on (swift-log,
/// SwiftNIO) is chosen anew by every package that is built.
public enum PluginLayouts {
    /// Of whoever calls it: it is compiled into the caller.
    @_alwaysEmitIntoClient
    public static func fingerprint() -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325 // FNV-1a
        self.forEach { _, size, stride, alignment in
            for number in [size, stride, alignment] {
                hash = (hash ^ UInt64(truncatingIfNeeded: number)) &* 0x0000_0100_0000_01b3
            }
        }
        return hash
    }

    /// Size, stride and alignment in bytes of each type, in an order of its own.
    @_alwaysEmitIntoClient
    public static func forEach(_ body: (_ name: String, _ size: Int, _ stride: Int, _ alignment: Int) -> Void) {
        func visit<Type>(_ type: Type.Type) {
            body("\(type)", MemoryLayout<Type>.size, MemoryLayout<Type>.stride, MemoryLayout<Type>.alignment)
        }
        visit(Message.self)
        visit(Reply.self)
        visit(Reply?.self)
        visit(Bytes.self)
        visit(Headers.self)
        visit(HeaderValue.self)
        visit(MessageID.self)
        visit(HareDoError.self)
        visit(ServiceError.self)
        visit(PluginContext.self)
        visit(PluginLimits.self)
        visit(ConfigurationReader.self)
        visit(ConfigurationValue.self)
        visit(ModuleContext.self)
        visit(ControlCommand.self)
        visit(Peer.Configuration.self)
        visit(Peer.Statistics.self)
        visit(PeerService.self)
        visit(ServiceOptions.self)
        visit(ServiceReport.self)
        visit(QueueShape.self)
        visit(FailurePolicy.self)
        visit(HandlerInterceptor.self)
        visit(CallInterceptor.self)
        visit(PeerHealth.self)
        visit(Logger.self)
        visit(Logger.MetadataValue.self)
    }
}
