//! Frames as Slack writes them, and odd ones.
