//! Random walks over the way of a message.
