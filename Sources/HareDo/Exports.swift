// SPDX-License-Identifier: Apache-2.0

// What users of HareDo, the tool and plugins need of these: they must not link copies of their own (a plugin's second
// copy of swift-log would bypass the host's logging).
@_exported public import Logging
@_exported public import ServiceLifecycle
@_exported public import UnixSignals
