//! Docker restarting under us.
