// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

/// Reads an argument of ours; a mistake in it is wrong usage, explained in our words.
func asUsage<T>(_ argument: String, _ read: (String) throws(ToolFailure) -> T) throws -> T {
    do {
        return try read(argument)
    } catch {
        throw ValidationError(error.message)
    }
}
