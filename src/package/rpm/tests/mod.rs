//! What the real tools of rpm make of the packages, and what the reader makes of theirs.

mod read;
