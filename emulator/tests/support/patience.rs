//! How long tests wait for programs of the host before they say that one hangs.

use std::time::Duration;

/// Three minutes: a host that is shared may stand still for many seconds.
pub const PATIENCE: Duration = Duration::from_secs(180);
