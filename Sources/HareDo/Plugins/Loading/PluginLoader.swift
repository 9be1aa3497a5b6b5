// SPDX-License-Identifier: Apache-2.0
import CHareDoPlugin
import NIOConcurrencyHelpers

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Finds and loads the shared libraries of plugins and modules. Whatever is wrong with one is an error
/// (``HareDoError/Code/pluginRefused``, with a ``PluginRefusal``), and not the end of the process.
///
/// What is loaded stays loaded: Swift's types cannot be taken away. A library that was replaced is the old one until the
/// program is started again; and it is to be replaced by renaming the new one into its place, never by writing over it.
public struct PluginLoader: Sendable {
    /// Where it looks.
    public var searchPath: PluginSearchPath

    /// A loader that looks there.
    public init(searchPath: PluginSearchPath = .environment) { self.searchPath = searchPath }

    /// A library that was loaded.
    public struct Library: Sendable {
        /// Its file.
        public let path: String
        /// What it has, if it is a plugin.
        public let plugin: (any Plugin.Type)?
        /// What it has, if it is a module.
        public let module: (any DaemonModule.Type)?
        /// The compiler that it, and this program, were built with.
        public let compiler: String
    }

    /// What a library is asked for.
    public enum Kind: String, Sendable, CaseIterable {
        case plugin, module

        var entryPoint: String {
            switch self {
            case .plugin: "haredo_plugin_main"
            case .module: "haredo_module_main"
            }
        }
        var code: UInt32 {
            switch self {
            case .plugin: UInt32(HAREDO_KIND_PLUGIN)
            case .module: UInt32(HAREDO_KIND_MODULE)
            }
        }
        var other: Kind { self == .plugin ? .module : .plugin }
    }

    /// The number that goes up whenever a public declaration changes that plugins could use.
    public static var abi: Int { Int(haredo_abi()) }

    /// The compiler that this program was built with.
    public static var compiler: String { unsafe String(cString: haredo_compiler()) }

    // MARK: - Finding

    /// The file of a plugin or module.
    ///
    /// - Throws: `pluginRefused`: `invalidName`, or `notFound` with every place that was looked at.
    public func find(_ name: String) throws(HareDoError) -> String {
        do {
            let name = try PluginName(name)
            return try self.place(of: name).path
        } catch {
            throw HareDoError(error)
        }
    }

    private func place(of name: PluginName) throws(PluginRefusal) -> PluginSearchPath.Place {
        let places = self.searchPath.places(of: name)
        if let place = places.first(where: { LibraryFile.exists($0.path) }) { return place }
        throw PluginRefusal(
            .notFound, name.text,
            "was found nowhere. Looked at: " + places.map(\.path).joined(separator: ", "))
    }

    // MARK: - Loading

    /// Finds a plugin or module and loads it.
    ///
    /// - Throws: `pluginRefused`.
    public func load(_ name: String, as kind: Kind = .plugin) throws(HareDoError) -> Library {
        do {
            let place = try self.place(of: try PluginName(name))
            return try Self.load(place.path, folders: place.folders, as: kind)
        } catch {
            throw HareDoError(error)
        }
    }

    /// Loads a file, from wherever it is.
    ///
    /// - Throws: `pluginRefused`.
    public static func load(file path: String, as kind: Kind = .plugin) throws(HareDoError) -> Library {
        // A path without a folder would be looked for elsewhere.
        let path = path.contains("/") ? path : "./" + path
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) }
        do {
            return try Self.load(path, folders: folder.map { [$0] } ?? [], as: kind)
        } catch {
            throw HareDoError(error)
        }
    }

    private static func load(_ path: String, folders: [String], as kind: Kind) throws(PluginRefusal) -> Library {
        try LibraryFile.check(path, folders: folders)
        let handle = try unsafe self.open(path)
        guard let symbol = unsafe dlsym(handle, kind.entryPoint) else {
            if unsafe dlsym(handle, kind.other.entryPoint) != nil {
                throw PluginRefusal(.otherKind, path, "is a \(kind.other.rawValue) and not a \(kind.rawValue)")
            }
            throw PluginRefusal(
                .noEntryPoint, path,
                "does not export '\(kind.entryPoint)': its function with @c(\(kind.entryPoint)) has to be public")
        }
        let symbolBits = UInt(bitPattern: symbol)
        // What it says of itself does not change, and is never freed.
        if let known = self.known.withLockedValue({ $0[symbolBits] }) { return known }
        let main = unsafe unsafeBitCast(symbol, to: (@convention(c) () -> UnsafeRawPointer?).self)
        guard let pointer = unsafe main() else {
            throw PluginRefusal(.notADescriptor, path, "returned nothing from '\(kind.entryPoint)'")
        }
        let descriptor = unsafe pointer.assumingMemoryBound(to: haredo_descriptor.self)
        // In this order: of another magic number nothing else may be read, of another ABI only that.
        guard unsafe descriptor.pointee.magic == haredo_magic() else {
            throw PluginRefusal(
                .notADescriptor, path, "returned from '\(kind.entryPoint)' what is not from exportPlugin")
        }
        let abi = unsafe descriptor.pointee.abi
        guard abi == haredo_abi() else {
            throw PluginRefusal(
                .otherABI, path,
                "was built against a HareDo with the ABI number \(abi), and this program has \(haredo_abi()): build it "
                    + "against the same version")
        }
        let compiler = unsafe descriptor.pointee.compiler.map { unsafe String(cString: $0) } ?? "an unknown one"
        guard compiler == self.compiler else {
            throw PluginRefusal(
                .otherCompiler, path,
                "was built with the compiler \(compiler), and this program with \(self.compiler): use the same one")
        }
        guard unsafe descriptor.pointee.layouts == PluginLayouts.fingerprint() else {
            throw PluginRefusal(
                .otherLayouts, path,
                "was built with other versions of what HareDo depends on: resolve its packages anew "
                    + "(`swift package update`), and those of the program, and build both")
        }
        guard unsafe descriptor.pointee.kind == kind.code, let type = unsafe descriptor.pointee.type else {
            throw PluginRefusal(.otherKind, path, "is no \(kind.rawValue)")
        }
        let swiftType = unsafe unsafeBitCast(type, to: Any.Type.self)
        let plugin = swiftType as? any Plugin.Type
        let module = swiftType as? any DaemonModule.Type
        guard plugin != nil || module != nil else {
            throw PluginRefusal(
                .carriedCopy, path,
                "brings a HareDo of its own: it has to depend on the product HareDoDynamic, and on nothing that HareDo "
                    + "depends on")
        }
        let library = Library(path: path, plugin: plugin, module: module, compiler: compiler)
        self.known.withLockedValue { $0[symbolBits] = library }
        return library
    }

    /// What was loaded, by the addresses of their functions.
    private static let known = NIOLockedValueBox<[UInt: Library]>([:])

    /// - Returns: for `dlsym`; it is never closed.
    private static func open(_ path: String) throws(PluginRefusal) -> UnsafeMutableRawPointer {
        #if os(Linux)
            let stays = RTLD_NODELETE
        #else
            let stays: Int32 = 0
        #endif
        if let pointer = unsafe dlopen(path, RTLD_NOW | RTLD_LOCAL | stays) { return unsafe pointer }
        let text = unsafe dlerror().map { unsafe String(cString: $0) } ?? "for no reason given"
        guard !text.contains("undefined symbol"), !text.contains("symbol not found") else {
            throw PluginRefusal(
                .undefinedSymbol, path, "was built against another HareDo, or lacks a library: \(text)")
        }
        throw PluginRefusal(.notLoadable, path, "could not be loaded: \(text)")
    }
}
