//! No query of the way of a message walks through a whole table.
