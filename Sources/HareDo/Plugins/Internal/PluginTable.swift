// SPDX-License-Identifier: Apache-2.0

/// Which plugins there are, by uuid and by name, in the order in which they were loaded; and which are on their way in or
/// out, so that of two who want to change one the second is told. Generic over what a plugin is.
struct PluginTable<Entry> {
    fileprivate struct Slot {
        var name: String
        var entry: Entry?
        /// Whether it is being loaded, replaced or unloaded.
        var isChanging: Bool
        var order: Int
    }

    private var slots: [String: Slot] = [:]
    private var uuids: [String: String] = [:]
    private var lastOrder = 0

    /// What processes a plugin's messages.
    subscript(uuid uuid: String) -> Entry? { self.slots[uuid]?.entry }

    /// In the order of loading.
    var entries: [Entry] {
        self.slots.values.sorted { $0.order < $1.order }.compactMap(\.entry)
    }

    /// Takes name and uuid for a plugin that is to be loaded.
    ///
    /// - Throws: `invalidArgument` with both names, if one of the two is taken.
    mutating func reserve(_ uuid: String, name: String) throws(HareDoError) {
        if let other = self.slots[uuid] {
            throw HareDoError(
                .invalidArgument,
                "the plugin '\(name)' has the uuid '\(uuid)', as has '\(other.name)', which is loaded already")
        }
        if let other = self.uuids[name] {
            throw HareDoError(
                .invalidArgument,
                "there is a plugin '\(name)' already: it has the uuid '\(other)', this one '\(uuid)'")
        }
        self.lastOrder += 1
        self.slots[uuid] = Slot(name: name, entry: nil, isChanging: true, order: self.lastOrder)
        self.uuids[name] = uuid
    }

    /// Takes a plugin to replace or unload it.
    ///
    /// - Returns: its uuid, and what it is.
    /// - Throws: `invalidArgument` if there is none of this name, or it is changing.
    mutating func hold(name: String) throws(HareDoError) -> (uuid: String, entry: Entry) {
        guard let uuid = self.uuids[name], var slot = self.slots[uuid] else {
            throw HareDoError(.invalidArgument, "there is no plugin '\(name)'")
        }
        guard !slot.isChanging, let entry = slot.entry else {
            throw HareDoError(
                .invalidArgument, "the plugin '\(name)' is just being loaded, replaced or unloaded: try again")
        }
        slot.isChanging = true
        self.slots[uuid] = slot
        return (uuid, entry)
    }

    /// Puts a plugin in the place that was reserved or held.
    mutating func put(_ entry: Entry, _ uuid: String) {
        self.slots[uuid]?.entry = entry
        self.slots[uuid]?.isChanging = false
    }

    /// What was held stays as it is.
    mutating func release(_ uuid: String) { self.slots[uuid]?.isChanging = false }

    /// From now on it gets no messages. Its name stays taken until ``free(_:)``.
    mutating func remove(_ uuid: String) { self.slots[uuid]?.entry = nil }

    /// Gives up what was reserved or held.
    mutating func free(_ uuid: String) {
        guard let slot = self.slots.removeValue(forKey: uuid) else { return }
        self.uuids[slot.name] = nil
    }
}

extension PluginTable: Sendable where Entry: Sendable {}
extension PluginTable.Slot: Sendable where Entry: Sendable {}
