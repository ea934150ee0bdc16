//! Is a message addressed to the assistant?
