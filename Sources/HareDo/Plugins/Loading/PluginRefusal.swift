// SPDX-License-Identifier: Apache-2.0

/// Why a plugin's library was not loaded: ``HareDoError/refusal``.
public struct PluginRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// Each has its remedy. More may be added.
    public enum Reason: String, Sendable, CaseIterable {
        /// Not a name, but maybe a path.
        case invalidName
        /// In none of the places where it may be.
        case notFound
        /// Not the library itself, but a symbolic link.
        case symbolicLink
        /// A folder, a socket, a device.
        case notAFile
        /// Could not be opened or read.
        case notReadable
        /// Everybody may write to it.
        case writableFile
        /// Everybody may write to the folder it is in.
        case writableFolder
        /// It, or its folder, belongs neither to the administrator nor to the program's own user.
        case foreignOwner
        /// Not a shared library.
        case notALibrary
        /// A shared library for another kind of machine.
        case otherMachine
        /// Its end is missing.
        case truncated
        /// It uses what the program does not have: it was built against another HareDo.
        case undefinedSymbol
        /// The system refused it for another reason.
        case notLoadable
        /// It does not export a plugin's function.
        case noEntryPoint
        /// What the function returned is not what `exportPlugin` returns.
        case notADescriptor
        /// Built against a HareDo whose public declarations are others.
        case otherABI
        /// Built with another compiler.
        case otherCompiler
        /// Built with other versions of what HareDo depends on, whose types look different.
        case otherLayouts
        /// It brings a HareDo of its own.
        case carriedCopy
        /// A module where a plugin was asked for, or the other way round.
        case otherKind
    }

    /// Why.
    public var reason: Reason
    /// What it was loaded from, or looked for as.
    public var path: String
    /// What was found, and what to do.
    public var text: String

    init(_ reason: Reason, _ path: String, _ text: String) {
        self.reason = reason
        self.path = path
        self.text = text
    }

    public var description: String { "\(self.reason.rawValue): '\(self.path)' \(self.text)" }
}

extension HareDoError {
    /// Why a library was not loaded; `nil` if the error is another.
    public var refusal: PluginRefusal? { self.cause as? PluginRefusal }

    init(_ refusal: PluginRefusal) {
        self.init(.pluginRefused, "'\(refusal.path)' \(refusal.text)", cause: refusal)
    }
}
