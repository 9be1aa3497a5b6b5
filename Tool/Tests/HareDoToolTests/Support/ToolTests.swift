// SPDX-License-Identifier: Apache-2.0
import Testing

/// Tests that run the built command. One after another: each starts several processes, and some measure time.
@Suite(.serialized)
struct ToolTests {}
